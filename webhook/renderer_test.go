package webhook

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWithinGivesUpWhenItsTimeEnds(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := within(ctx, "working", func() (int, error) { <-block; return 1, nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wanted the deadline, got %v", err)
	}
}

func TestWithinTurnsAPanicIntoAnError(t *testing.T) {
	if _, err := within(t.Context(), "working", func() (int, error) { panic("bomb") }); err == nil {
		t.Error("wanted an error")
	}
	if v, err := within(t.Context(), "working", func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestConfigSaysWhatIsMissing(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("wanted an error")
	}
}
