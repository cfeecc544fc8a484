package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
)

const (
	// lookEvery is the time between two looks at what is watched.
	lookEvery = time.Second
	// lookLimit is how long one look may take before it counts as failed.
	lookLimit = 10 * time.Second
)

// watchOptions are the flags of commands that show where something stands.
type watchOptions struct {
	*cli
	watch   bool
	timeout time.Duration
	output  string
}

// addFlags adds the flags; until says what ends a watch.
func (o *watchOptions) addFlags(cmd *cobra.Command, until string) {
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Go on until "+until)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "With --watch: give up after this time; 0 never does")
	outputFlag(cmd, &o.output)
}

func (o *watchOptions) validate() error {
	if o.timeout < 0 {
		return fmt.Errorf("wanted a positive time in --timeout, found %s", o.timeout)
	}
	if o.timeout > 0 && !o.watch {
		return errors.New("--timeout goes with --watch; without it the status is read once")
	}
	return checkOutput(o.output)
}

// subject is what is looked at: how it is read, shown and judged. V is its view, whose
// JSON is the command's.
type subject[V any] struct {
	read func(ctx context.Context) (V, error)
	// draw returns the lines of the view as a tree, with further notes.
	draw  func(v V, o tree.Options, notes ...string) []string
	facts func(V) []tree.Fact
	// done says whether there is nothing left to wait for.
	done func(V) bool
	// verdict is the error for a view that is a failure.
	verdict func(V) error
	// late says where it stands after the time given.
	late func(v V, after time.Duration) error
}

// showing shows a subject once, or until it is done.
func showing[V any](ctx context.Context, o *watchOptions, s subject[V]) error {
	if o.watch {
		return follow(ctx, o, s)
	}
	view, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := printView(o, s, view); err != nil {
		return err
	}
	return s.verdict(view)
}

// follow shows each change until the subject is done. Once it was read, an API server that
// does not answer is waited for.
func follow[V any](ctx context.Context, o *watchOptions, s subject[V]) error {
	var expired <-chan time.Time
	if o.timeout > 0 {
		timer := time.NewTimer(o.timeout)
		defer timer.Stop()
		expired = timer.C
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	show := presenter(o, s)
	var last V
	for seen := false; ; {
		view, err := look(ctx, s)
		switch {
		case err == nil:
			seen, last = true, view
			if err := show(view, nil); err != nil {
				return err
			}
			if s.done(view) {
				return s.verdict(view)
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case !seen || lasting(err):
			return err
		default:
			if err := show(last, err); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-expired:
			return s.late(last, o.timeout)
		case <-tick.C:
		}
	}
}

func look[V any](ctx context.Context, s subject[V]) (V, error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	return s.read(ctx)
}

// lasting says whether an error would be the same a second later.
func lasting(err error) bool {
	var missing *gather.NotFoundError
	return errors.As(err, &missing) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || meta.IsNoMatchError(err)
}

// presenter returns the function that shows a view, and why it is not newer.
func presenter[V any](o *watchOptions, s subject[V]) func(V, error) error {
	switch {
	case o.output != "":
		return documents[V](o)
	case o.Terminal:
		screen := &term.Screen{Out: o.Out, Size: o.Size}
		return func(view V, stale error) error {
			var notes []string
			if stale != nil {
				notes = append(notes, "not up to date: "+stale.Error())
			}
			return screen.Draw(s.draw(view, o.drawing(), notes...))
		}
	default:
		return factLines(o, s)
	}
}

// factLines prints a line for each change.
func factLines[V any](o *watchOptions, s subject[V]) func(V, error) error {
	var before []tree.Fact
	var trouble string
	return func(view V, stale error) error {
		if stale != nil {
			if stale.Error() != trouble {
				o.say("Trying again: %v", stale)
			}
			trouble = stale.Error()
			return nil
		}
		trouble = ""
		after := s.facts(view)
		for _, f := range tree.Changed(before, after) {
			if _, err := fmt.Fprintf(o.Out, "%s  %s\n", o.Now().Format(time.TimeOnly), term.Line(f.Text)); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
		}
		before = after
		return nil
	}
}

// documents prints a document for each change.
func documents[V any](o *watchOptions) func(V, error) error {
	var before []byte
	return func(view V, stale error) error {
		if stale != nil {
			o.say("Trying again: %v", stale)
			return nil
		}
		after, err := json.Marshal(view)
		if err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
		if bytes.Equal(before, after) {
			return nil
		}
		before = after
		if o.output == "json" {
			_, err = fmt.Fprintf(o.Out, "%s\n", after)
			return err
		}
		return writeDocument(o.cli, view, o.output)
	}
}

// printView shows a view once.
func printView[V any](o *watchOptions, s subject[V], view V) error {
	if o.output != "" {
		return writeDocument(o.cli, view, o.output)
	}
	for _, line := range s.draw(view, o.drawing()) {
		if _, err := fmt.Fprintln(o.Out, line); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	return nil
}

// drawing is how trees are drawn here.
func (o *watchOptions) drawing() tree.Options {
	options := tree.Options{Style: o.style(), Now: o.Now()}
	if o.Terminal {
		options.Columns, _ = o.Size()
	}
	return options
}
