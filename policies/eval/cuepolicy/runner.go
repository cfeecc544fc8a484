package cuepolicy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Runner compiles and judges where it can be ended: in a process of its own.
type Runner interface {
	// Compile checks a policy as Compile does. The error says why nobody knows whether it is
	// sound; it is a *budget.Error where compiling took more than a policy may.
	Compile(ctx context.Context, name, source string) (problems []string, err error)
	// Judge asks all policies of a question, and returns what each of them came to, in their
	// order.
	Judge(ctx context.Context, q Question) []Outcome
}

// Question is one object and the policies that are asked about it.
type Question struct {
	// Group is who causes the work, such as a namespace: groups have equal shares.
	Group string
	// Object is what is judged, as JSON.
	Object []byte
	// Input is what policies may refer to as input, a JSON object without parameters.
	Input    []byte
	Policies []Asked
	// Each is the most time that one of the policies gets; 0 is that of package budget.
	Each time.Duration
}

// Asked is a policy of a question.
type Asked struct {
	// Name is for messages.
	Name string `json:"name"`
	// Digest is that of Source, as Digest makes it.
	Digest string `json:"digest"`
	Source string `json:"source,omitempty"`
	// Parameters is a JSON object, which the policy finds in input.parameters.
	Parameters []byte `json:"parameters,omitempty"`
}

// Outcome is what a policy of a question came to.
type Outcome struct {
	Denials, Warnings []Finding
	// Err is why nothing is known; a *budget.Error where the policy took more than it may.
	Err error
}

// Digest names a source.
func Digest(source string) string {
	sum := sha256.Sum256([]byte(source))
	return hex.EncodeToString(sum[:])
}

// WithParameters is an input with the parameters of one policy.
func WithParameters(input, parameters []byte) []byte {
	if len(parameters) == 0 {
		return input
	}
	body := bytes.TrimSpace(input)
	body = bytes.TrimSpace(bytes.TrimSuffix(body, []byte("}")))
	out := make([]byte, 0, len(body)+len(parameters)+len(`,"parameters":}`))
	out = append(out, body...)
	switch {
	case len(body) == 0:
		out = append(out, '{')
	case len(body) > 1: // it has fields
		out = append(out, ',')
	}
	out = append(out, `"parameters":`...)
	out = append(out, parameters...)
	return append(out, '}')
}
