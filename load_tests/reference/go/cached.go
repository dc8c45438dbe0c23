package main

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	types "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
)

const maxRemembered = 100_000

// Route is a method of a resource; a segment in braces stands for any.
type Route struct{ Method, Path string }

// Rules is what a server authorizes by.
type Rules struct {
	Issuer       string
	Keys         KeySet
	Routes       []Route
	ClaimHeaders map[string]string
}

// cached verifies a token when it first comes, and then remembers its claims until they expire; without a place for them, each time.
type cached struct {
	auth.UnimplementedAuthorizationServer
	issuer       string
	keys         map[string]PublicKey
	routes       map[string][][]string
	claimHeaders map[string]string
	mutex        sync.RWMutex
	remembered   map[[sha256.Size]byte]Claims
}

func newCached(rules Rules, remembers bool) (*cached, error) {
	keys, err := rules.Keys.byID()
	if err != nil {
		return nil, err
	}
	routes := map[string][][]string{}
	for _, route := range rules.Routes {
		routes[route.Method] = append(routes[route.Method], strings.Split(route.Path, "/"))
	}
	made := &cached{issuer: rules.Issuer, keys: keys, routes: routes, claimHeaders: rules.ClaimHeaders}
	if remembers {
		made.remembered = map[[sha256.Size]byte]Claims{}
	}
	return made, nil
}

func (c *cached) Check(_ context.Context, request *auth.CheckRequest) (*auth.CheckResponse, error) {
	http := request.GetAttributes().GetRequest().GetHttp()
	if !c.exists(http.GetMethod(), http.GetPath()) {
		return deny(codes.PermissionDenied, types.StatusCode_Forbidden), nil
	}
	claims, err := c.claims(strings.TrimPrefix(http.GetHeaders()["authorization"], "Bearer "))
	if err != nil || claims.Use != "id" || claims.Issuer != c.issuer || time.Now().Unix() >= claims.Expires {
		return deny(codes.Unauthenticated, types.StatusCode_Unauthorized), nil
	}
	headers := make([]Header, 0, len(c.claimHeaders))
	for name, claim := range c.claimHeaders {
		headers = append(headers, Header{name, claims.Text[claim]})
	}
	return allow(headers, nil), nil
}

func (c *cached) exists(method, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(path, "/")
	for _, route := range c.routes[method] {
		if matches(route, segments) {
			return true
		}
	}
	return false
}

func matches(route, segments []string) bool {
	if len(route) != len(segments) {
		return false
	}
	for i, segment := range route {
		if segment != segments[i] && !strings.HasPrefix(segment, "{") {
			return false
		}
	}
	return true
}

func (c *cached) claims(token string) (Claims, error) {
	if c.remembered == nil {
		return verify(token, c.keys)
	}
	name := sha256.Sum256([]byte(token))
	c.mutex.RLock()
	claims, found := c.remembered[name]
	c.mutex.RUnlock()
	if found {
		return claims, nil
	}
	claims, err := verify(token, c.keys)
	if err == nil {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		if len(c.remembered) >= maxRemembered {
			clear(c.remembered)
		}
		c.remembered[name] = claims
	}
	return claims, err
}
