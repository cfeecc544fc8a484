package command

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"tidegate.io/tidegate/cmd/tidegate/internal/offline"
)

func TestEveryCommandThatEvaluatesGivesUp(t *testing.T) {
	dir := variant(t)
	c := &cli{Env: Env{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Name: "tidegate"}, flags: genericclioptions.NewConfigFlags(true)}
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errEndless)
	for name, run := range map[string]func(context.Context) error{
		"render":          (&renderOptions{cli: c, source: offline.Options{File: dir, Name: "cart"}}).run,
		"release create":  (&releaseCreateOptions{cli: c, template: dir, name: "cart"}).run,
		"template vet":    func(ctx context.Context) error { return (&vetFlags{cli: c}).run(ctx, dir) },
		"template test":   func(ctx context.Context) error { return (&testFlags{cli: c}).test(ctx, dir) },
		"template diff":   func(ctx context.Context) error { return (&diffOptions{cli: c}).run(ctx, []string{dir, dir}) },
		"template bundle": func(ctx context.Context) error { return c.bundle(ctx, dir, "", "") },
	} {
		if err := run(over); !errors.Is(err, errEndless) || !strings.HasPrefix(err.Error(), "TG-RENDER-BUDGET: ") {
			t.Errorf("%s: wanted it to give up, found %v", name, err)
		}
	}
}
