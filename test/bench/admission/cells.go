package main

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook"
)

// Targets.
const (
	// mostOfNothing is how much longer the median may be than that of a webhook that does
	// nothing.
	mostOfNothing = 1.25
	// mostOfBaseline is the share of the baseline's processor time.
	mostOfBaseline     = 0.25
	mostAllocations    = 12_000
	mostResident       = 90 // MiB
	mostProcessorAll   = 4  // ms a review, by all templates of the library
	mostProcessorPods  = 1.4
	mostProcessorLarge = 60
)

func atMost(name string, most float64, of func(row) float64) target {
	return target{Name: name, Most: most, of: of}
}

// sizes of an object.
var sizes = []struct {
	name  string
	bytes int
}{{"2 kB", 2 << 10}, {"50 kB", 50 << 10}, {"1 MB", 1 << 20}}

// bench is a run.
type bench struct {
	options options
	servers []*server
	nothing *server
}

func (b *bench) start(ctx context.Context, p part) (*server, error) {
	s, err := start(ctx, p)
	if err != nil {
		return nil, err
	}
	b.servers = append(b.servers, s)
	return s, nil
}

func (b *bench) stop() {
	for _, s := range b.servers {
		s.stop()
	}
	b.servers = nil
}

// leave ends a server that is not needed any more, so that it takes no memory from others.
func (b *bench) leave(list ...*server) {
	kept := b.servers[:0]
	for _, s := range b.servers {
		left := false
		for _, l := range list {
			left = left || l == s
		}
		if left {
			s.stop()
			continue
		}
		kept = append(kept, s)
	}
	b.servers = kept
}

// limits compares what is answered without asking any policy with a webhook that does
// nothing: what no policy is about, and what the manager itself writes.
func (b *bench) limits(ctx context.Context, policies int) ([]cell, error) {
	gate, err := b.start(ctx, part{Role: roleGate, Policies: policies})
	if err != nil {
		return nil, err
	}
	targets := []target{atMost("median against nothing", mostOfNothing, func(r row) float64 { return r.MedianRatio })}
	var out []cell
	for _, size := range sizes {
		for _, connections := range b.options.connections {
			if policies != b.options.most() && (size.bytes != 2<<10 || connections != 1) {
				continue
			}
			set := request{user: writer, kind: "StatefulSet", operation: admissionv1.Create, size: size.bytes}
			scale := request{user: identity, kind: "Deployment", operation: admissionv1.Update, size: size.bytes}
			out = append(out, cell{
				title: "no policy matches", size: size.name, connections: connections, policies: policies, targets: targets,
				subjects: []*subject{
					{name: "nothing", server: b.nothing, path: webhook.PathGate, allowed: true, request: set},
					{name: "no match", server: gate, path: webhook.PathGate, allowed: true, request: set},
				},
			}, cell{
				title: "managed flow", size: size.name, connections: connections, policies: policies, targets: targets,
				subjects: []*subject{
					{name: "nothing", server: b.nothing, path: webhook.PathGate, allowed: true, request: scale},
					{name: "managed flow", server: gate, path: webhook.PathGate, allowed: true, request: scale},
				},
			})
		}
	}
	return out, nil
}

// affordable says whether a cell can be answered in the time of one review: the API server
// waits for 5 seconds, and 64 connections wait for each other.
func affordable(bytes, policies, connections int) bool {
	return bytes*policies*connections <= 12<<20 && policies*connections <= 50*64
}

// matches compares DeployPolicies with the baseline, by the same policies.
func (b *bench) matches(ctx context.Context, policies int) ([]cell, []*server, error) {
	gate, err1 := b.start(ctx, part{Role: roleGate, Policies: policies})
	base, err2 := b.start(ctx, part{Role: roleBaseline, Policies: policies})
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	var out []cell
	for _, size := range sizes {
		for _, connections := range b.options.connections {
			if !affordable(size.bytes, policies, connections) {
				continue
			}
			create := request{user: writer, kind: "Deployment", operation: admissionv1.Create, size: size.bytes}
			out = append(out, cell{
				title: "DeployPolicies match", size: size.name, connections: connections, policies: policies,
				targets: []target{atMost("processor against baseline", mostOfBaseline, func(r row) float64 { return r.ProcessorRatio })},
				subjects: []*subject{
					{name: "baseline", server: base, path: pathBaseline, allowed: true, request: create},
					{name: "tidegate", server: gate, path: webhook.PathGate, allowed: true, request: create},
				},
			})
		}
	}
	return out, []*server{gate, base}, nil
}

// library compares constraints with the baseline, by the templates of the library, and a
// Pod that they have much against.
func (b *bench) library(ctx context.Context, group, title string, processor float64) ([]cell, []*server, error) {
	own, err1 := b.start(ctx, part{Role: roleConstraints, Library: b.options.library, Group: group})
	base, err2 := b.start(ctx, part{Role: roleBaseline, Library: b.options.library, Group: group})
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	against := atMost("processor against baseline", mostOfBaseline, func(r row) float64 { return r.ProcessorRatio })
	spent := func(r row) float64 { return r.Processor }
	small := []target{
		against,
		atMost("allocations", mostAllocations, func(r row) float64 { return r.Allocations }),
		atMost("processor ms", processor, spent),
		atMost("resident MiB", mostResident, func(r row) float64 { return r.Resident }),
	}
	pod := func(size int, s shape) request {
		return request{user: "alice", kind: "Pod", operation: admissionv1.Create, size: size, shape: s}
	}
	of := func(name string, connections int, r request, targets []target) cell {
		return cell{
			title: title, size: name, connections: connections, policies: own.Judges, targets: targets,
			subjects: []*subject{
				{name: "baseline", server: base, path: pathBaseline, request: r},
				{name: "tidegate", server: own, path: gatekeeper.WebhookPath, request: r},
			},
		}
	}
	var out []cell
	for _, connections := range b.options.connections {
		out = append(out, of("2 kB", connections, pod(2<<10, ordinary), small))
	}
	out = append(out,
		of("50 kB", 1, pod(50<<10, ordinary), []target{against}),
		of("1 MB", 1, pod(1<<20, ordinary), []target{against, atMost("processor ms", mostProcessorLarge, spent)}),
		of("50 kB, 47 containers", 1, pod(50<<10, wide), []target{against}))
	return out, []*server{own, base}, nil
}

// describe says of what a run is.
func (b *bench) describe() string {
	if b.options.library == "" {
		return fmt.Sprintf("Templates of Gatekeeper's library are not measured, since %s is not set; DeployPolicies are Tidegate's own library.", libraryEnv)
	}
	return "ConstraintTemplates are those of Gatekeeper's library, each with the first of its samples; DeployPolicies are Tidegate's own library."
}
