package library_test

import (
	"fmt"
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/regotest"
	"tidegate.io/tidegate/policies/library"
)

// A policy that is too slow would be an error, and an error holds: at the most windows that
// it takes, the answer must still be quick.
func BenchmarkMostFreezeWindows(b *testing.B) {
	var windows []string
	for i := range 25 {
		windows = append(windows, fmt.Sprintf(`{"from": "%02d:%02d", "to": "%02d:00"}`, i%24, i, (i+2)%24))
	}
	for i := range 4 {
		windows = append(windows, fmt.Sprintf(`{"from": "2026-12-2%dT00:00:00Z", "to": "2027-01-0%dT00:00:00Z"}`, i, i+1))
	}
	source, err := library.Source("freeze-windows", []byte(`{"zone": "Europe/Berlin", "windows": [`+strings.Join(windows, ",")+`]}`))
	if err != nil {
		b.Fatal(err)
	}
	p, err := eval.Compile(source)
	if err != nil {
		b.Fatal(err)
	}
	in := regotest.Document(b, []byte(`{"time": "2026-11-21T12:00:00Z", "release": {"name": "cart", "namespace": "shop"}, "rollout": {"weight": 5}}`))
	b.ReportAllocs()
	for b.Loop() {
		f, err := p.Eval(b.Context(), in)
		if err != nil || len(f.Denials) != 1 {
			b.Fatalf("%+v, %v", f, err)
		}
	}
}

func BenchmarkTheFreezeExample(b *testing.B) {
	p := regotest.Read(b, "freeze-windows").Policy(b)
	in := regotest.Document(b, []byte(`{"time": "2026-11-21T12:00:00Z", "release": {"name": "cart", "namespace": "shop"}, "rollout": {"weight": 5}}`))
	b.ReportAllocs()
	for b.Loop() {
		if f, err := p.Eval(b.Context(), in); err != nil || len(f.Denials) != 1 {
			b.Fatalf("%+v, %v", f, err)
		}
	}
}
