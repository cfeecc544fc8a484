package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// written is a line of the audit log.
func written(stage, verb, resource, sub, name string, code int, at string) string {
	raw, _ := json.Marshal(map[string]any{ //nolint:errchkjson // plain strings and numbers
		"stage": stage, "verb": verb, "requestURI": "/x?limit=5", "requestReceivedTimestamp": at,
		"objectRef":      map[string]any{"resource": resource, "subresource": sub, "namespace": namespace, "name": name},
		"responseStatus": map[string]any{"code": code},
	})
	return string(raw) + "\n"
}

const (
	early = "2026-01-01T00:00:00.000001Z"
	later = "2026-01-01T00:00:01.500000Z"
)

func TestRequestsAreReadFromTheAuditLog(t *testing.T) {
	log := written("ResponseComplete", "create", "rollouts", "", "r00001-2", 201, early) +
		written("ResponseComplete", "update", "rollouts", "status", "r00001-2", 200, later) +
		written("ResponseStarted", "watch", "rollouts", "", "", 200, early) +
		written("ResponseComplete", "watch", "rollouts", "", "", 200, later) +
		written("ResponseComplete", "get", "", "", "", 200, early) +
		`{"stage":"ResponseComplete","verb":"update","objectRef":{"resou`
	calls, err := readCalls(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range calls {
		got = append(got, string(c.sort())+" "+c.Verb+" "+c.Resource)
	}
	want := []string{"write create rollouts", "write update rollouts/status", "watch watch rollouts", "read get /x"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("wanted %q, a watch once and no half line, found %q", want, got)
	}
	if took := calls[1].At.Sub(calls[0].At); took != 1499999*time.Microsecond {
		t.Errorf("wanted times to the microsecond, found %s apart", took)
	}
	if _, err := readCalls(strings.NewReader("no JSON\n")); err == nil {
		t.Error("wanted a line that is no JSON to be an error")
	}
}

func TestRequestsAreOfASort(t *testing.T) {
	for name, tc := range map[string]struct {
		verb, resource string
		want           sort
	}{
		"the lease is told apart, though it is written":   {"update", "leases", sortLease},
		"a watch is no read":                              {"watch", "rollouts", sortWatch},
		"a list is a read":                                {"list", "rollouts", sortRead},
		"an Event is told apart":                          {"create", "events", sortEvent},
		"a question by POST stores nothing":               {"create", "subjectaccessreviews", sortReview},
		"a status is a write":                             {"update", "releases/status", sortWrite},
		"an apply is a write":                             {"patch", "httproutes", sortWrite},
		"what is taken away is a write":                   {"delete", "deployments", sortWrite},
		"a page that is about no resource is only looked": {"get", "/apis", sortRead},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (call{Verb: tc.verb, Resource: tc.resource, Name: "r00001.18ea"}).sort(); got != tc.want {
				t.Errorf("wanted %s, found %s", tc.want, got)
			}
		})
	}
	if got := (call{Verb: "create", Resource: "events", Name: leaseName + ".18ea"}).sort(); got != sortLease {
		t.Errorf("wanted an Event about the lease to be told apart from others, found %s", got)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	got := count([]call{
		{Verb: "get", Resource: "services", Code: 404},
		{Verb: "get", Resource: "services", Code: 200},
		{Verb: "get", Resource: "services", Code: 500},
		{Verb: "update", Resource: "releases/status", Code: 409},
		{Verb: "update", Resource: "releases/status", Code: 200},
		{Verb: "create", Resource: "events", Code: 201},
	})
	want := []tally{
		{sortRead, "get", "services", 3, 1}, {sortWrite, "update", "releases/status", 2, 1}, {sortEvent, "create", "events", 1, 0},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("wanted %v, found %v", want, got)
	}
	if n := total(got, sortWrite, sortEvent); n != 3 {
		t.Errorf("wanted 3 writes and Events, found %d", n)
	}
}

func TestTheFirstActionIsFound(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return base.Add(time.Duration(seconds) * time.Second) }
	calls := []call{
		{Verb: "patch", Resource: "deployments", Name: "r00001-abc", Code: 200, At: at(1)},
		{Verb: "get", Resource: "rollouts", Name: "r00001-2", Code: 200, At: at(3)},
		{Verb: "create", Resource: "events", Name: "r00001.x", Code: 201, At: at(3)},
		{Verb: "update", Resource: "releases/status", Name: "r00001", Code: 409, At: at(4)},
		{Verb: "create", Resource: "rollouts", Name: "r00001-2", Code: 201, At: at(6)},
		{Verb: "patch", Resource: "releases/status", Name: "r00001", Code: 200, At: at(5)},
		{Verb: "create", Resource: "rollouts", Name: "r000011-2", Code: 201, At: at(3)},
	}
	for name, tc := range map[string]struct {
		after time.Time
		only  string
		want  int
		found bool
	}{
		"the earliest write counts, in whatever order they were answered": {at(2), "", 5, true},
		"one resource alone is looked at where that is asked":             {at(2), "rollouts", 6, true},
		"what was before the change is about another":                     {at(0), "", 1, true},
		"nothing is found where nothing was written":                      {at(7), "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := firstAbout(calls, "r00001", tc.after, tc.only)
			if ok != tc.found || ok && !got.Equal(at(tc.want)) {
				t.Errorf("wanted second %d (found: %t), got %s (found: %t)", tc.want, tc.found, got, ok)
			}
		})
	}
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i))
	}
	for name, tc := range map[string]struct {
		of      []time.Duration
		percent int
		want    time.Duration
	}{
		"half are at most the median":                  {all, 50, 100},
		"of 200 two are above the 99th":                {all, 99, 198},
		"the 100th is the longest":                     {all, 100, 200},
		"of fewer than 100 the 99th is the longest":    {all[:50], 99, 200},
		"one is all of them":                           {all[:1], 50, 200},
		"of nothing there is none, so it is no target": {nil, 99, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := at(tc.of, tc.percent); got != tc.want {
				t.Errorf("wanted %d, found %d", tc.want, got)
			}
		})
	}
}

func TestTheNewestRolloutOfAReleaseIsFollowed(t *testing.T) {
	f := &fleet{releases: map[string]*seen{}}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	see := func(second int, number int64, weight int32, phase v1alpha1.RolloutPhase) {
		f.see(&v1alpha1.Rollout{
			Spec:   v1alpha1.RolloutSpec{Release: "r00001", Number: number},
			Status: v1alpha1.RolloutStatus{Phase: phase, Weight: weight},
		}, now.Add(time.Duration(second)*time.Second))
	}
	see(0, 1, 100, v1alpha1.RolloutSucceeded)
	if f.settled() != 1 {
		t.Error("wanted a Release that serves to be settled")
	}
	see(1, 2, 50, v1alpha1.RolloutProgressing)
	if f.settled() != 0 {
		t.Error("wanted a Release that rolls not to be settled")
	}
	see(2, 2, 100, v1alpha1.RolloutPromoting)
	see(3, 1, 0, v1alpha1.RolloutAborted) // news of an old one comes late
	see(4, 2, 100, v1alpha1.RolloutSucceeded)
	see(5, 2, 100, v1alpha1.RolloutSucceeded)
	got := f.newest("r00001")
	if got.number != 2 || !got.promoted.Equal(now.Add(2*time.Second)) || !got.ended.Equal(now.Add(4*time.Second)) || got.phase != v1alpha1.RolloutSucceeded {
		t.Errorf("wanted Rollout 2, promoted at 2 s and ended at 4 s, found %+v", got)
	}
}

func TestFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		check func(options) bool
		fails string
	}{
		"the sizes are small by default":                 {nil, func(o options) bool { return reflect.DeepEqual(o.sizes, []int{100}) && o.at == 100 }, ""},
		"full is the sizes of the targets":               {[]string{"-full"}, func(o options) bool { return o.at == 1000 && o.changes == 100 && o.cycles == 1000 }, ""},
		"what is given besides full counts":              {[]string{"-full", "-sizes", "100,1000", "-changes", "7"}, func(o options) bool { return len(o.sizes) == 2 && o.changes == 7 && o.cycles == 1000 }, ""},
		"all but idle is measured at 1,000 where it can": {[]string{"-sizes", "10,100,1000,5000"}, func(o options) bool { return o.at == 1000 }, ""},
		"or at the size that is asked for":               {[]string{"-sizes", "100,1000", "-at", "100"}, func(o options) bool { return o.at == 100 }, ""},
		"limits are handed on":                           {[]string{"-kube-api-qps", "300"}, func(o options) bool { return o.limits.String() == "--kube-api-qps 300" }, ""},
		"without limits the manager's own count":         {nil, func(o options) bool { return len(o.limits.args()) == 0 }, ""},
		"sizes rise":                                     {[]string{"-sizes", "100,10"}, nil, "-sizes"},
		"an unknown phase is refused":                    {[]string{"-phases", "idle,rest"}, nil, "rest"},
		"more canaries than Releases are refused":        {[]string{"-sizes", "20", "-burst", "50"}, nil, "-burst"},
		"an unknown format is refused":                   {[]string{"-o", "yaml"}, nil, "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(tc.args)
			switch {
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("wanted an error about %s, found %v", tc.fails, err)
			case tc.fails == "" && err != nil:
				t.Error(err)
			case tc.fails == "" && !tc.check(o):
				t.Errorf("found %+v", o)
			}
		})
	}
}

func TestTargetsAreJudged(t *testing.T) {
	b := &block{Phase: phaseCost, Releases: 3}
	b.target("writes", 14, "requests", 14)
	b.target("Events", 6.5, "requests", 6)
	b.durations("done", []time.Duration{time.Second, 4 * time.Second}, 3*time.Second)
	r := &result{Blocks: []*block{b}}
	r.describe()
	var out bytes.Buffer
	if err := r.write(&out); err != nil {
		t.Fatal(err)
	}
	var met []string
	for text := range strings.Lines(out.String()) {
		if cells := strings.Fields(text); len(cells) > 0 && (cells[len(cells)-1] == "yes" || cells[len(cells)-1] == "NO") {
			met = append(met, cells[0]+" "+cells[len(cells)-1])
		}
	}
	if want := []string{"writes yes", "Events NO", "done, NO"}; !reflect.DeepEqual(met, want) {
		t.Errorf("wanted %q, found %q in\n%s", want, met, out.String())
	}
}

func TestTheManagersUseIsReadFromProc(t *testing.T) {
	pid := os.Getpid()
	m, err := memoryOf(pid)
	if err != nil || m.Own <= 0 || m.Resident < m.Own || m.Peak < m.Own {
		t.Errorf("wanted the memory of this process, found %+v, %v", m, err)
	}
	before, err := processorOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
	}
	if after, err := processorOf(pid); err != nil || after <= before {
		t.Errorf("wanted more than %s of processor time after some work, found %s, %v", before, after, err)
	}
	if parent, err := childrenOf(os.Getppid()); err != nil || len(parent) == 0 {
		t.Errorf("wanted this process among the children of its parent, found %v, %v", parent, err)
	}
}

func TestTheTemplateIsACanaryOfTwoWeights(t *testing.T) {
	template, err := render.Compile(map[string]string{"canary.cue": canaryTemplate})
	if err != nil {
		t.Fatal(err)
	}
	out, err := template.Render([]byte(`{"image":"app:v1","replicas":1}`), render.Context{Name: releaseName(1), Namespace: namespace, Template: templateName})
	if err != nil {
		t.Fatal(err)
	}
	if out.Route == nil || len(out.Set) != 2 {
		t.Errorf("wanted a set of two objects and a route, found %d objects, route %v", len(out.Set), out.Route)
	}
}
