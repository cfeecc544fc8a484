package play

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/jsonpath"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/world"
)

// snapshots is the world between setup and requests.
type snapshots struct {
	// objects are by the number of the check that asks for unchanged ones.
	objects map[int][]unstructured.Unstructured
	// metrics are by the number of the metric.
	metrics []float64
}

func (s *scene) look(ctx context.Context) (snapshots, error) {
	out := snapshots{objects: map[int][]unstructured.Unstructured{}}
	for i, c := range s.attempt.Afterwards {
		if !c.Unchanged {
			continue
		}
		c, err := attempt.Expanded(c, s.variables())
		if err != nil {
			return out, err
		}
		list, err := s.world.Find(ctx, *c.Object, s.namespace())
		if err != nil {
			return out, err
		}
		if len(list) == 0 {
			return out, fmt.Errorf("afterwards %d: wanted %s to be there before, found none", i+1, describe(*c.Object))
		}
		out.objects[i] = list
	}
	for _, m := range s.attempt.Metrics {
		v, err := s.world.Metric(ctx, m.Name, m.Labels)
		if err != nil {
			return out, err
		}
		out.metrics = append(out.metrics, v)
	}
	return out, nil
}

func (s *scene) afterwards(ctx context.Context, before snapshots) error {
	for i, c := range s.attempt.Afterwards {
		c, err := attempt.Expanded(c, s.variables())
		if err != nil {
			return err
		}
		problem, err := s.await(ctx, c, before.objects[i])
		if err != nil {
			return fmt.Errorf("check %d: %w", i+1, err)
		}
		if problem != "" {
			s.problem("afterwards %d: %s", i+1, problem)
		}
	}
	for i, m := range s.attempt.Metrics {
		now, err := s.world.Metric(ctx, m.Name, m.Labels)
		if err != nil {
			return err
		}
		if rise := now - before.metrics[i]; rise < m.Rises {
			s.problem("metric %s: wanted a rise of %v, found %v", m.Name, m.Rises, rise)
		}
	}
	return nil
}

// await asks a check until it holds or its time is over, and returns what is wrong then. A
// check without a time is asked once.
func (s *scene) await(ctx context.Context, c attempt.Check, before []unstructured.Unstructured) (problem string, err error) {
	if c.Within == 0 {
		return s.check(ctx, c, before)
	}
	within := s.patient(time.Duration(c.Within))
	asked := poll(ctx, within, func(ctx context.Context) (bool, error) {
		var p string
		if p, err = s.check(ctx, c, before); err != nil {
			return false, err
		}
		problem = p
		return problem == "", nil
	})
	switch {
	case asked == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", asked
	case problem != "":
		return fmt.Sprintf("%s, after %s", problem, within), nil
	}
	return "", asked
}

// check returns what of the world is not as it should be.
func (s *scene) check(ctx context.Context, c attempt.Check, before []unstructured.Unstructured) (string, error) {
	if c.Manager != nil {
		return s.checkManager(ctx, *c.Manager)
	}
	list, err := s.world.Find(ctx, *c.Object, s.namespace())
	if err != nil {
		return "", err
	}
	what := describe(*c.Object)
	switch {
	case c.Count != nil:
		if len(list) != *c.Count {
			return fmt.Sprintf("wanted %d %s, found %d", *c.Count, what, len(list)), nil
		}
	case c.Exists != nil:
		if *c.Exists != (len(list) > 0) {
			return fmt.Sprintf("wanted %s to be %s, found the opposite", what, map[bool]string{true: "there", false: "absent"}[*c.Exists]), nil
		}
	case c.Unchanged:
		return unchanged(what, before, list), nil
	default:
		if len(list) == 0 {
			return fmt.Sprintf("wanted %s, found none", what), nil
		}
		for _, o := range list {
			if p := compare(*c.Field, o.Object); p != "" {
				return fmt.Sprintf("%s %q: %s", c.Object.Resource, o.GetName(), p), nil
			}
		}
	}
	return "", nil
}

func (s *scene) checkManager(ctx context.Context, c attempt.ManagerCheck) (string, error) {
	if ready := s.world.ManagerReady(ctx); ready != c.Ready {
		return fmt.Sprintf("the manager: wanted ready %v, found %v", c.Ready, ready), nil
	}
	if c.MemoryBelow == 0 {
		return "", nil
	}
	memory, err := s.world.ManagerMemory()
	if err != nil {
		return "", err
	}
	if mib := memory >> 20; mib >= int64(c.MemoryBelow) {
		return fmt.Sprintf("the manager: wanted less than %d MiB of memory, found %d", c.MemoryBelow, mib), nil
	}
	return "", nil
}

func describe(t attempt.Target) string {
	if t.Name != "" {
		return fmt.Sprintf("%s %q", t.Resource, t.Name)
	}
	return fmt.Sprintf("%s with %q", t.Resource, t.Selector)
}

// unchanged compares what was there with what is; what came or went is a change.
func unchanged(what string, before, now []unstructured.Unstructured) string {
	is := map[string]*unstructured.Unstructured{}
	for i := range now {
		is[now[i].GetName()] = &now[i]
	}
	for i := range before {
		o, ok := is[before[i].GetName()]
		if !ok {
			return fmt.Sprintf("wanted %s unchanged, found that %q is gone", what, before[i].GetName())
		}
		was, is := world.Essence(&before[i]), world.Essence(o)
		for k := range was {
			if !reflect.DeepEqual(was[k], is[k]) {
				return fmt.Sprintf("wanted %s unchanged, found another %s in %q: %s", what, k, before[i].GetName(), clip(text(is[k])))
			}
		}
		for k := range is {
			if _, ok := was[k]; !ok {
				return fmt.Sprintf("wanted %s unchanged, found %s in %q", what, k, before[i].GetName())
			}
		}
	}
	if len(now) > len(before) {
		return fmt.Sprintf("wanted %s unchanged, found %d instead of %d", what, len(now), len(before))
	}
	return ""
}

// compare returns what of a field is not as it should be.
func compare(f attempt.Field, object map[string]any) string {
	value, ok, err := lookup(object, f.Path)
	if err != nil {
		return err.Error()
	}
	return compared(f, value, ok)
}

func compared(f attempt.Field, value any, ok bool) string {
	found := "nothing"
	if ok {
		found = clip(text(value))
	}
	switch {
	case f.Absent:
		if ok {
			return fmt.Sprintf("wanted no %s, found %s", f.Path, found)
		}
	case f.Equals != nil:
		if !ok || !same(f.Equals, value) {
			return fmt.Sprintf("wanted %s to be %v, found %s", f.Path, f.Equals, found)
		}
	case f.NotEquals != nil:
		if ok && same(f.NotEquals, value) {
			return fmt.Sprintf("wanted %s to be other than %v, found it", f.Path, f.NotEquals)
		}
	case f.Matches != "":
		if !ok || !matches(f.Matches, text(value)) {
			return fmt.Sprintf("wanted %s to match %q, found %s", f.Path, f.Matches, found)
		}
	default:
		if !between(f, value) {
			return fmt.Sprintf("wanted %s from %s to %s, found %s", f.Path, bound(f.AtLeast), bound(f.AtMost), found)
		}
	}
	return ""
}

// between is about numbers; what is none is between nothing.
func between(f attempt.Field, value any) bool {
	n, err := strconv.ParseFloat(text(value), 64)
	if err != nil {
		return false
	}
	return (f.AtLeast == nil || n >= *f.AtLeast) && (f.AtMost == nil || n <= *f.AtMost)
}

func bound(f *float64) string {
	if f == nil {
		return "any"
	}
	return strconv.FormatFloat(*f, 'g', -1, 64)
}

// lookup is the first value that a JSONPath finds.
func lookup(object map[string]any, path string) (value any, ok bool, err error) {
	j := jsonpath.New("field").AllowMissingKeys(true)
	if err := j.Parse("{" + path + "}"); err != nil {
		return nil, false, fmt.Errorf("field %s: %w", path, err)
	}
	found, err := j.FindResults(object)
	if err != nil {
		// An index beyond the end of a list is a value that is not there.
		if strings.Contains(err.Error(), "out of bounds") {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("field %s: %w", path, err)
	}
	for _, results := range found {
		for _, r := range results {
			return r.Interface(), true, nil
		}
	}
	return nil, false, nil
}

// same compares JSON values. A text equals the value that is written like it, since
// variables are texts.
func same(wanted, found any) bool {
	a, err := json.Marshal(wanted)
	if err != nil {
		return false
	}
	b, err := json.Marshal(found)
	if err != nil {
		return false
	}
	return bytes.Equal(a, b) || text(wanted) == text(found)
}

// text is a value as a variable: texts as they are, the rest in JSON.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(raw)
}
