package observe_test

import (
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
)

func scaler(apiVersion, kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": "cart-" + newRevision, "namespace": "shop"}, "spec": spec,
	}}
}

// aims and measures are one metric of an autoscaler, as its spec and as its status have it.
func aims(kind, of string, target map[string]any) map[string]any {
	field, name := map[string]string{"Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "External": "external"}[kind], any(of)
	inner := map[string]any{"name": name, "target": target}
	if kind == "Pods" || kind == "External" {
		inner = map[string]any{"metric": inner["name"], "target": target}
		inner["metric"] = map[string]any{"name": of}
	}
	return map[string]any{"type": kind, field: inner}
}

func measures(kind, of string, current map[string]any) map[string]any {
	out := aims(kind, of, nil)
	for field, inner := range out {
		if m, ok := inner.(map[string]any); ok && field != "type" {
			delete(m, "target")
			m["current"] = current
		}
	}
	return out
}

func percent(n int64) map[string]any { return map[string]any{"averageUtilization": n} }
func each(q string) map[string]any   { return map[string]any{"averageValue": q} }

func TestTheLoadIsWhatTheAutoscalerMeasures(t *testing.T) {
	t.Parallel()
	type list = []any
	cpu := list{aims("Resource", "cpu", percent(80))}
	for name, c := range map[string]struct {
		want, now list
		pods      int64 // as the autoscaler last saw them; there are 4
		late      bool
		load      int64
	}{
		"as much as it aims at":                      {cpu, list{measures("Resource", "cpu", percent(80))}, 4, false, 4000},
		"twice as much":                              {cpu, list{measures("Resource", "cpu", percent(160))}, 4, false, 8000},
		"a quarter of it":                            {cpu, list{measures("Resource", "cpu", percent(20))}, 4, false, 1000},
		"pods that it has not seen do not count":     {cpu, list{measures("Resource", "cpu", percent(160))}, 2, false, 4000},
		"pods that are not available do not count":   {cpu, list{measures("Resource", "cpu", percent(80))}, 9, false, 4000},
		"processors in amounts":                      {list{aims("Resource", "cpu", each("200m"))}, list{measures("Resource", "cpu", each("300m"))}, 4, false, 6000},
		"one container's processors":                 {list{aims("ContainerResource", "cpu", percent(50))}, list{measures("ContainerResource", "cpu", percent(75))}, 4, false, 6000},
		"requests of each pod":                       {list{aims("Pods", "rps", each("100"))}, list{measures("Pods", "rps", each("150"))}, 4, false, 6000},
		"the greatest of several":                    {list{cpu[0], aims("Pods", "rps", each("100"))}, list{measures("Resource", "cpu", percent(40)), measures("Pods", "rps", each("150"))}, 4, false, 6000},
		"one of several could not be measured":       {list{aims("Pods", "rps", each("100")), cpu[0]}, list{map[string]any{"type": ""}, measures("Resource", "cpu", percent(40))}, 4, false, 2000},
		"memory says nothing of requests":            {list{aims("Resource", "memory", percent(50))}, list{measures("Resource", "memory", percent(75))}, 4, false, 0},
		"the length of a queue is of both revisions": {list{aims("External", "queue", each("10"))}, list{measures("External", "queue", each("90"))}, 4, false, 0},
		"another metric than is aimed at":            {cpu, list{measures("Pods", "rps", each("150"))}, 4, false, 0},
		"an aim that is changed":                     {cpu, list{measures("Resource", "cpu", percent(160))}, 4, true, 0},
		"nothing is measured yet":                    {cpu, nil, 4, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			obj := scaler("autoscaling/v2", "HorizontalPodAutoscaler", map[string]any{"minReplicas": int64(2), "maxReplicas": int64(30), "metrics": c.want})
			s.subject.Sides.Canary.Set = append(s.subject.Sides.Canary.Set, obj)
			s.put(obj)
			live := s.live["HorizontalPodAutoscaler cart-"+newRevision]
			live.SetGeneration(3)
			seen := int64(3)
			if c.late {
				seen = 2
			}
			live.Object["status"] = map[string]any{"observedGeneration": seen, "currentReplicas": c.pods, "desiredReplicas": c.pods, "currentMetrics": c.now}
			w, err := s.observe()
			if err != nil || w.Canary.Knowledge != plan.Present {
				t.Fatal(err, w)
			}
			if w.Canary.Load != c.load || w.Canary.Most != 30 || !w.Canary.Autoscaled {
				t.Errorf("load %d, most %d, autoscaled %t; want load %d of at most 30 pods", w.Canary.Load, w.Canary.Most, w.Canary.Autoscaled, c.load)
			}
		})
	}
}

// What an autoscaler leaves its set at least is no part of whether the set is as rendered: Tidegate itself raises it.
func TestASetTellsWhatItsAutoscalerLeavesIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind, version, least string
		says                 int64
		lifted               int32
	}{
		"as many as was rendered": {"HorizontalPodAutoscaler", "autoscaling/v2", "minReplicas", 2, 0},
		"more":                    {"HorizontalPodAutoscaler", "autoscaling/v2", "minReplicas", 7, 7},
		"fewer, by somebody else": {"HorizontalPodAutoscaler", "autoscaling/v2", "minReplicas", 1, 0},
		"more, as KEDA has it":    {"ScaledObject", "keda.sh/v1alpha1", "minReplicaCount", 7, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			most := strings.Replace(c.least, "min", "max", 1)
			obj := scaler(c.version, c.kind, map[string]any{c.least: int64(2), most: int64(30)})
			s.subject.Sides.Canary.Set = append(s.subject.Sides.Canary.Set, obj)
			s.put(obj)
			if err := unstructured.SetNestedField(s.live[c.kind+" cart-"+newRevision].Object, c.says, "spec", c.least); err != nil {
				t.Fatal(err)
			}
			if c.lifted > 0 {
				live := s.live[c.kind+" cart-"+newRevision]
				all := live.GetAnnotations()
				all["tidegate.io/least"] = strconv.Itoa(int(c.lifted))
				live.SetAnnotations(all)
			}
			w, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Canary; got.Lifted != c.lifted || got.Least != 2 || got.Most != 30 || !got.UpToDate {
				t.Errorf("%+v, want it up to date, lifted to %d within 2 and 30", got, c.lifted)
			}
			if w.Stable.Lifted != 0 {
				t.Errorf("the other set is lifted to %d", w.Stable.Lifted)
			}
		})
	}
}

func TestAScaledObjectSizesItsSet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec map[string]any
		most int32
	}{
		"up to what it says":             {map[string]any{"maxReplicaCount": int64(12)}, 12},
		"up to KEDA's own where nothing": {map[string]any{}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			obj := scaler("keda.sh/v1alpha1", "ScaledObject", c.spec)
			s.subject.Sides.Canary.Set = append(s.subject.Sides.Canary.Set, obj)
			s.put(obj)
			w, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if !w.Canary.Autoscaled || w.Canary.Most != c.most || w.Canary.Load != 0 {
				t.Errorf("%+v, want it autoscaled to at most %d pods, with no load measured", w.Canary, c.most)
			}
			if w.Stable.Autoscaled || w.Stable.Most != 0 {
				t.Errorf("%+v, want no autoscaler beside it", w.Stable)
			}
		})
	}
}
