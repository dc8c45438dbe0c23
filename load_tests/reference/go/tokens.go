package main

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
)

// PublicKey verifies RS256.
type PublicKey = *rsa.PublicKey

// KeySet is a JSON Web Key Set.
type KeySet struct {
	Keys []struct{ Kid, N, E string }
}

// Claims is what a verified token says; Text holds its strings by name.
type Claims struct {
	Issuer  string `json:"iss"`
	Use     string `json:"token_use"`
	Expires int64  `json:"exp"`
	Text    map[string]string
}

func (set KeySet) byID() (map[string]PublicKey, error) {
	keys := map[string]PublicKey{}
	for _, key := range set.Keys {
		modulus, err := base64.RawURLEncoding.DecodeString(key.N)
		if err != nil {
			return nil, err
		}
		exponent, err := base64.RawURLEncoding.DecodeString(key.E)
		if err != nil {
			return nil, err
		}
		keys[key.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	}
	return keys, nil
}

func verify(token string, keys map[string]PublicKey) (Claims, error) {
	var claims Claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims, errors.New("not three parts")
	}
	var header struct{ Alg, Kid string }
	if err := read(parts[0], &header); err != nil {
		return claims, err
	}
	key := keys[header.Kid]
	if header.Alg != "RS256" || key == nil {
		return claims, errors.New("no such key")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return claims, err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature); err != nil {
		return claims, err
	}
	var all map[string]any
	if err := errors.Join(read(parts[1], &claims), read(parts[1], &all)); err != nil {
		return claims, err
	}
	claims.Text = map[string]string{}
	for name, value := range all {
		if text, ok := value.(string); ok {
			claims.Text[name] = text
		}
	}
	return claims, nil
}

func read(part string, value any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, value)
}
