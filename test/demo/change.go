package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/stage"
)

// edit is a change of the source of the template web.
type edit struct{ from, to string }

var (
	// breaking asks for something that no Release has set.
	breaking = edit{
		"	// The port that the container listens on.",
		"	// Who is called when it fails.\n	oncall!: kit.#DNSLabel\n\n	// The port that the container listens on.",
	}
	// harmless adds a variable with a default, which the objects do not show yet.
	harmless = edit{
		"	// The port that the container listens on.",
		"	// Who is called when it fails.\n	oncall: *\"platform\" | kit.#DNSLabel\n\n	// The port that the container listens on.",
	}
	// rolling changes the pods of every Release.
	rolling = edit{"	grace:     30\n", "	grace:     45\n"}
)

// change plays what a platform team goes through to change a template that services use.
func (d *demo) change(ctx context.Context) error {
	d.say("the platform team wants to know whom to call, and makes it a variable that must be set")
	dir, bundle, err := d.edited(ctx, "web-oncall-required", breaking)
	if err != nil {
		return err
	}
	out, err := d.tidegate(ctx, stage.Admin, "template", "diff", dir, "--template", "web")
	d.expect(err != nil && strings.Contains(out, "oncall") && strings.Contains(out, stage.Namespace+"/"+releaseName),
		"the preview says what breaks, and for whom", "it does not name the variable and the Release")
	out, err = d.kubectl(ctx, stage.Admin, "", "apply", "--server-side", "-f", bundle)
	d.refused("the breaking change", out, err, "TG-TEMPLATE-BREAKING", "oncall", "allowBreakingAfter")

	d.say("with a default it breaks nobody; the pods also get more time to end, which rolls them")
	dir, bundle, err = d.edited(ctx, "web-oncall", harmless, rolling)
	if err != nil {
		return err
	}
	out, err = d.tidegate(ctx, stage.Admin, "template", "vet", dir, "--server", "-n", stage.OpenNamespace)
	d.expect(err == nil, "the API server takes what the template makes, in a dry run", out)
	out, err = d.tidegate(ctx, stage.Admin, "template", "diff", dir, "--template", "web")
	d.expect(err == nil, "the preview finds nothing that breaks", out)
	began := d.recorder.Now()
	out, err = d.kubectl(ctx, stage.Admin, "", "apply", "--server-side", "-f", bundle)
	d.expect(err == nil && strings.Contains(out, "1 roll"), "publishing says how many Releases roll", "the warning is missing")
	if err != nil {
		return err
	}
	rel, err := d.synced(ctx)
	if err != nil {
		return err
	}
	d.expect(rel.Status.Phase == v1alpha1.ReleaseServing && strings.HasPrefix(rel.Status.TemplateRevision, "web-2-"),
		"the Release took up the new template revision through a canary of its own", rel.Status.Message)
	_, err = d.tidegate(ctx, stage.Admin, "template", "status", "web")
	lost := d.recorder.Since(began).Lost
	d.expect(lost == 0, "the change of the template lost no request", fmt.Sprintf("%d were lost", lost))
	return err
}

// edited writes the template web with edits to a directory called name, without its tests,
// which would find what breaks as well, and bundles it. It returns the two paths.
func (d *demo) edited(ctx context.Context, name string, edits ...edit) (dir, bundle string, err error) {
	files, err := stage.TemplateFiles()
	if err != nil {
		return "", "", err
	}
	delete(files, "tests.cue")
	source := files["web.cue"]
	for _, e := range edits {
		if !strings.Contains(source, e.from) {
			return "", "", fmt.Errorf("editing the template web: it has no line %q", e.from)
		}
		source = strings.Replace(source, e.from, e.to, 1)
	}
	files["web.cue"] = source
	here, err := os.Getwd()
	if err != nil {
		return "", "", err
	}
	// Beside the binaries, in a folder that the checkout ignores; shown as whoever types it would.
	if dir, err = filepath.Rel(here, filepath.Join(filepath.Dir(d.stage.BinaryDir()), name)); err != nil {
		return "", "", err
	}
	if err := os.RemoveAll(dir); err != nil { // what an earlier demo left
		return "", "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			return "", "", err
		}
	}
	manifest, err := d.stage.Tidegate(ctx, stage.Admin, "template", "bundle", dir, "--name", "web")
	if err != nil {
		return "", "", fmt.Errorf("bundling %s: %w", dir, err)
	}
	bundle = dir + ".yaml"
	d.say("tidegate template bundle %s --name web > %s", dir, bundle)
	return dir, bundle, os.WriteFile(bundle, []byte(manifest), 0o600)
}

// synced follows the Release on its way to the template's second revision.
func (d *demo) synced(ctx context.Context) (*v1alpha1.Release, error) {
	before, err := d.release(ctx)
	if err != nil {
		return nil, err
	}
	err = d.stage.WaitFor(ctx, "the Release to take up web-2", 30*time.Second, func(ctx context.Context) (bool, error) {
		now, err := d.release(ctx)
		return err == nil && now.Status.Rollout != before.Status.Rollout, err
	})
	if err != nil {
		return nil, err
	}
	return d.follow(ctx)
}
