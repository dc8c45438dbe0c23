package main

import (
	"context"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	types "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// Header is a name and a value.
type Header struct{ Name, Value string }

type noop struct {
	auth.UnimplementedAuthorizationServer
	answer *auth.CheckResponse
}

func newNoop() *noop {
	headers := []Header{
		{"x-auth-sub", "7d8ca528-4931-4254-9273-ea5ee853f271"}, {"x-auth-email", "ada@example.com"}, {"x-auth-username", "ada"},
	}
	return &noop{answer: allow(headers, nil)}
}

func (n *noop) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	return n.answer, nil
}

func allow(headers []Header, remove []string) *auth.CheckResponse {
	options := make([]*core.HeaderValueOption, len(headers))
	for i, header := range headers {
		options[i] = &core.HeaderValueOption{
			Header:       &core.HeaderValue{Key: header.Name, Value: header.Value},
			AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}
	}
	ok := &auth.OkHttpResponse{Headers: options, HeadersToRemove: remove}
	return &auth.CheckResponse{Status: &status.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}
}

func deny(code codes.Code, httpStatus types.StatusCode) *auth.CheckResponse {
	denied := &auth.DeniedHttpResponse{Status: &types.HttpStatus{Code: httpStatus}}
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(code)},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: denied},
	}
}
