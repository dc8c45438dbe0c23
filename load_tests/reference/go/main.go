// An ext_authz server on grpc-go, to compare with: what a good engineer writes in an afternoon.
//
//	reference noop PORT             allows everything
//	reference cached PORT RULES     verifies ID tokens once and remembers their claims, for the routes in the file RULES
//	reference verifying PORT RULES  the same, but verifies a token each time
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: reference noop PORT | reference cached PORT RULES | reference verifying PORT RULES")
	}
	service, err := service(os.Args[1], os.Args[3:])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	auth.RegisterAuthorizationServer(server, service)
	log.Fatal(server.Serve(listener))
}

func service(mode string, arguments []string) (auth.AuthorizationServer, error) {
	switch {
	case mode == "noop":
		return newNoop(), nil
	case (mode == "cached" || mode == "verifying") && len(arguments) == 1:
		var rules Rules
		text, err := os.ReadFile(arguments[0])
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &rules); err != nil {
			return nil, err
		}
		return newCached(rules, mode == "cached")
	}
	return nil, fmt.Errorf("%s %v: not understood", mode, arguments)
}
