package world

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/attack/internal/attempt"
)

// workloads are where a Release's pods may come from, in the order of looking.
var workloads = []string{"deployments", "statefulsets", "daemonsets", "cronjobs"}

// Serve brings a Release into service and returns the variables about it.
func (w *World) Serve(ctx context.Context, namespace string, r attempt.Release) (attempt.Vars, error) {
	if r.Name == "" {
		r.Name = "cart"
	}
	if r.Template == "" {
		r.Template = "web"
	}
	least, ok := leastValues[r.Template]
	if !ok {
		return nil, fmt.Errorf("release: wanted one of the templates web, worker, stateful and job, found %q", r.Template)
	}
	values := maps.Clone(least)
	maps.Copy(values, r.Values)
	if err := w.applyRelease(ctx, namespace, r, values); err != nil {
		return nil, err
	}
	rollout, err := w.awaitRollout(ctx, namespace, r.Name, 1, func(phase v1alpha1.RolloutPhase) bool { return phase == v1alpha1.RolloutSucceeded })
	if err != nil {
		return nil, err
	}
	vars, err := w.describe(ctx, namespace, r.Name, rollout)
	if err != nil || r.Then == nil {
		return vars, err
	}
	maps.Copy(values, r.Then)
	if err := w.applyRelease(ctx, namespace, r, values); err != nil {
		return nil, err
	}
	second, err := w.awaitRollout(ctx, namespace, r.Name, 2, func(phase v1alpha1.RolloutPhase) bool { return phase == v1alpha1.RolloutProgressing })
	if err != nil {
		return nil, err
	}
	vars["rollout"] = second.GetName()
	return vars, nil
}

func (w *World) applyRelease(ctx context.Context, namespace string, r attempt.Release, values map[string]any) error {
	// As JSON and back: the values are what a file may hold.
	raw, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	var plain map[string]any
	if err := json.Unmarshal(raw, &plain); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return w.Apply(ctx, map[string]any{
		"apiVersion": "tidegate.io/v1alpha1", "kind": "Release",
		"metadata": map[string]any{"name": r.Name, "namespace": namespace},
		"spec":     map[string]any{"template": map[string]any{"name": r.Template}, "values": plain},
	})
}

// awaitRollout waits until the Rollout of a number is in a phase that will do.
func (w *World) awaitRollout(ctx context.Context, namespace, release string, number int64, enough func(v1alpha1.RolloutPhase) bool) (*unstructured.Unstructured, error) {
	var found *unstructured.Unstructured
	err := w.until(ctx, fmt.Sprintf("rollout %d of Release %s in namespace %s", number, release, namespace), upTimeout, func(ctx context.Context) (bool, string, error) {
		list, err := w.Find(ctx, attempt.Target{APIVersion: "tidegate.io/v1alpha1", Resource: "rollouts"}, namespace)
		if err != nil {
			return false, "", err
		}
		last := "no Rollout"
		for i := range list {
			o := &list[i]
			of, _, _ := unstructured.NestedString(o.Object, "spec", "release")
			n, _, _ := unstructured.NestedInt64(o.Object, "spec", "number")
			if of != release || n != number {
				continue
			}
			phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
			message, _, _ := unstructured.NestedString(o.Object, "status", "message")
			last = phase + ": " + message
			if enough(v1alpha1.RolloutPhase(phase)) {
				found = o
				return true, last, nil
			}
		}
		return false, last, nil
	})
	return found, err
}

// describe is what attempts want to name of a Release in service.
func (w *World) describe(ctx context.Context, namespace, release string, rollout *unstructured.Unstructured) (attempt.Vars, error) {
	revision, _, _ := unstructured.NestedString(rollout.Object, "spec", "revision")
	digest, _, _ := unstructured.NestedString(rollout.Object, "spec", "digest")
	vars := attempt.Vars{"release": release, "revision": revision, "rollout": rollout.GetName(), "digest": digest, "pod": "", "replicaset": ""}
	labelled := v1alpha1.LabelRelease + "=" + release
	for _, resource := range workloads {
		version := "apps/v1"
		if resource == "cronjobs" {
			version = "batch/v1"
		}
		list, err := w.Find(ctx, attempt.Target{APIVersion: version, Resource: resource, Selector: labelled}, namespace)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			vars["set"], vars["uid"] = list[0].GetName(), string(list[0].GetUID())
			break
		}
	}
	if vars["set"] == "" {
		return nil, fmt.Errorf("wanted a workload of Release %q in namespace %q, found none", release, namespace)
	}
	for name, t := range map[string]attempt.Target{
		"pod":        {APIVersion: "v1", Resource: "pods", Selector: labelled},
		"replicaset": {APIVersion: "apps/v1", Resource: "replicasets", Selector: labelled},
	} {
		list, err := w.Find(ctx, t, namespace)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			vars[name] = list[0].GetName()
		}
	}
	return vars, nil
}

// Live is an object as the administrator reads it, as JSON.
func (w *World) Live(ctx context.Context, path string) ([]byte, error) {
	admin, err := w.people.admin()
	if err != nil {
		return nil, err
	}
	req, err := admin.Request(ctx, http.MethodGet, path, nil, http.NoBody)
	if err != nil {
		return nil, err
	}
	status, body, err := admin.Do(req)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("reading %s: %s", path, Message(body))
	}
	return body, nil
}
