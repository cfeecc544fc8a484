package main

import (
	"context"
	"errors"
	"testing"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

func webFiles(t *testing.T) map[string]string {
	t.Helper()
	files, err := templates.Files("web")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var facts = render.Context{Name: "cart", Namespace: "shop", Template: "web"}

const values = `{"image": "shop/cart:1", "containerPort": 8080, "replicas": 2, "resources": {"cpu": "100m", "memory": "64Mi"}}`

func TestTheWebhookAndTheControllersRenderTheSame(t *testing.T) {
	t.Parallel()
	files, compiled := webFiles(t), new(render.Cache)
	if err := (webhook.TemplateRenderer{Compiled: compiled}).Check(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	if compiled.Len() != 0 {
		t.Error("a template that is not published yet took room in the cache")
	}
	one, err := webhook.TemplateRenderer{Compiled: compiled}.Render(t.Context(), webhook.Source{Files: files}, []byte(values), facts)
	if err != nil {
		t.Fatal(err)
	}
	revision := &v1alpha1.TemplateRevision{Spec: v1alpha1.TemplateRevisionSpec{Files: files}}
	other, err := renderer{compiled}.Render(t.Context(), revision, &runtime.RawExtension{Raw: []byte(values)}, facts)
	if err != nil {
		t.Fatal(err)
	}
	if one.Digest != other.Digest || one.Revision != other.Revision || compiled.Len() != 1 {
		t.Errorf("%s %s, %d compiled", one.Digest, other.Digest, compiled.Len())
	}
	var wrong *render.ValuesError
	if _, err := (renderer{compiled}).Render(t.Context(), revision, nil, facts); !errors.As(err, &wrong) {
		t.Errorf("no values at all: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := (renderer{compiled}).Render(ended, revision, nil, facts); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}

func TestAReplicaIsReadyOnceTheNewestTemplatesAreCompiled(t *testing.T) {
	t.Parallel()
	template := func(name, latest string) client.Object {
		return &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.ReleaseTemplateStatus{LatestRevision: latest}}
	}
	revision := func(name string, files map[string]string) client.Object {
		return &v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.TemplateRevisionSpec{Files: files}}
	}
	s, err := scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(s).WithObjects(
		template("web", "web-2"), revision("web-1", map[string]string{"old.cue": "package web"}), revision("web-2", webFiles(t)),
		template("broken", "broken-1"), revision("broken-1", map[string]string{"x.cue": "package x\n}"}),
		template("gone", "gone-1"),
		template("new", ""),
	).Build()
	l := &templateLoader{client: c, compiled: new(render.Cache), log: logr.Discard()}
	if l.ready(nil) == nil {
		t.Error("ready before anything was loaded")
	}
	if err := l.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.ready(nil); err != nil {
		t.Errorf("I8: a template that does not compile keeps the replica from serving: %v", err)
	}
	if n := l.compiled.Len(); n != 2 {
		t.Errorf("%d templates compiled, wanted the newest of web and broken", n)
	}
}
