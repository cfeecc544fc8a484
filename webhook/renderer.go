package webhook

import (
	"context"
	"fmt"

	"tidegate.io/tidegate/schemas/render"
)

// TemplateRenderer is the Renderer that renders in this process.
type TemplateRenderer struct {
	// Compiled keeps compiled templates; it may be shared.
	Compiled *render.Cache
}

// Check implements Renderer. What is not published yet is compiled aside: it must push
// nothing that serves out of the cache.
func (t TemplateRenderer) Check(ctx context.Context, files map[string]string) error {
	_, err := within(ctx, "checking a template", func() (struct{}, error) {
		template, err := render.Compile(files)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, template.Check()
	})
	return err
}

// Vet implements Renderer.
func (t TemplateRenderer) Vet(ctx context.Context, files map[string]string) ([]render.Finding, error) {
	return within(ctx, "vetting a template", func() ([]render.Finding, error) {
		return render.Vet(files, render.VetOptions{Shallow: true}), nil
	})
}

// Render implements Renderer.
func (t TemplateRenderer) Render(ctx context.Context, s Source, values []byte, c render.Context) (*render.Result, error) {
	return within(ctx, "rendering", func() (*render.Result, error) {
		template, err := t.Compiled.Get(s.Files)
		if err != nil {
			return nil, err
		}
		return template.Render(values, c)
	})
}

// Immutable implements Renderer.
func (t TemplateRenderer) Immutable(ctx context.Context, s Source, was, now []byte) error {
	_, err := within(ctx, "comparing values", func() (struct{}, error) {
		template, err := t.Compiled.Get(s.Files)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, template.Immutable(was, now)
	})
	return err
}

// Compare implements Renderer.
func (t TemplateRenderer) Compare(ctx context.Context, before, after map[string]string) (*render.Comparison, error) {
	return within(ctx, "comparing templates", func() (*render.Comparison, error) {
		was, err := render.Compile(before)
		if err != nil {
			return nil, fmt.Errorf("compiling the template as it was: %w", err)
		}
		is, err := render.Compile(after)
		if err != nil {
			return nil, err
		}
		return render.Compare(was, is)
	})
}

// within runs work that cannot be interrupted and gives up waiting for it when ctx ends,
// so that whoever asked has an answer; the work itself goes on to its end.
func within[T any](ctx context.Context, what string, work func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	if err := ctx.Err(); err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", what, err)
	}
	go func() {
		var o outcome
		// A panic on this goroutine would end the manager.
		defer func() {
			if p := recover(); p != nil {
				o.err = fmt.Errorf("%s: the engine panicked: %v", what, p)
			}
			done <- o
		}()
		o.value, o.err = work()
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s: %w", what, ctx.Err())
	}
}
