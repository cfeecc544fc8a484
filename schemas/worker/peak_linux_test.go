package worker

import (
	"errors"
	"testing"

	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

// The system says of a child that it held what its parent holds, since it begins as a copy of
// it. A parent that holds much must not make every death look like a bomb.
func TestAParentThatHoldsMuchIsNotMistakenForABomb(t *testing.T) {
	ballast := make([]byte, DefaultMemory)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	folder := t.TempDir()
	p := newPool(t, Options{Command: self(t, asMortal, folder), Workers: 1})
	// It is killed from outside twice: nobody is to blame.
	out := Policies{Pool: p}.Judge(t.Context(), cuepolicy.Question{Object: []byte(`{}`), Policies: asked(twoReplicas)})
	if !errors.Is(out[0].Err, ErrKilled) {
		t.Errorf("wanted that it was killed from outside, found %v", out[0].Err)
	}
	if ballast[0] != 1 {
		t.Error("the ballast is gone")
	}
}
