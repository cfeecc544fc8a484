package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// managerUser is who the manager is for the API server.
const managerUser = "system:serviceaccount:tidegate-system:tidegate-manager"

// leaseName is the name of the lease.
const leaseName = "tidegate-manager"

// auditPolicy has the API server write down what the manager asks, and nothing else: one line
// for each request, without bodies, when it was answered; a watch has another when it begins.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["` + managerUser + `"]
- level: None
`

// audit is the API server's log of what the manager has asked.
type audit struct{ dir string }

// newAudit makes a folder with the policy.
func newAudit() (*audit, error) {
	dir, err := os.MkdirTemp("", "tidegate-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the audit log: %w", err)
	}
	a := &audit{dir: dir}
	if err := os.WriteFile(a.policy(), []byte(auditPolicy), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the audit policy: %w", err), a.remove())
	}
	return a, nil
}

func (a *audit) policy() string { return filepath.Join(a.dir, "policy.yaml") }
func (a *audit) path() string   { return filepath.Join(a.dir, "audit.log") }

// args are those of the API server. The log is one file, however large.
func (a *audit) args() []string {
	return []string{
		"--audit-policy-file=" + a.policy(), "--audit-log-path=" + a.path(),
		"--audit-log-mode=blocking", "--audit-log-maxsize=100000",
	}
}

func (a *audit) remove() error {
	if err := os.RemoveAll(a.dir); err != nil {
		return fmt.Errorf("removing the audit log: %w", err)
	}
	return nil
}

// mark is a place in the log: what is asked after it.
type mark int64

func (a *audit) mark() (mark, error) {
	info, err := os.Stat(a.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("looking at the audit log: %w", err)
	}
	return mark(info.Size()), nil
}

// call is one request of the manager.
type call struct {
	Verb string
	// Resource has the subresource, as in rollouts/status.
	Resource  string
	Namespace string
	Name      string
	Code      int
	// At is when the API server took it.
	At time.Time
}

// since returns what was asked after m.
func (a *audit) since(m mark) ([]call, error) {
	f, err := os.Open(a.path())
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	if _, err := f.Seek(int64(m), io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return readCalls(f)
}

// line is what is read of one line of the log.
type line struct {
	Stage     string `json:"stage"`
	Verb      string `json:"verb"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	RequestURI     string `json:"requestURI"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	At time.Time `json:"requestReceivedTimestamp"`
}

// readCalls reads lines of the log up to the last whole one. A watch counts when it begins.
func readCalls(r io.Reader) ([]call, error) {
	var out []call
	in := bufio.NewReader(r)
	for {
		raw, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		var l line
		if err := json.Unmarshal(bytes.TrimSpace(raw), &l); err != nil {
			return nil, fmt.Errorf("reading the audit log: wanted JSON, found %.100q: %w", raw, err)
		}
		if (l.Stage == "ResponseStarted") != (l.Verb == "watch") {
			continue
		}
		c := call{Verb: l.Verb, Resource: l.ObjectRef.Resource, Namespace: l.ObjectRef.Namespace, Name: l.ObjectRef.Name, Code: l.ResponseStatus.Code, At: l.At}
		switch {
		case c.Resource == "":
			c.Resource, _, _ = strings.Cut(l.RequestURI, "?")
		case l.ObjectRef.Subresource != "":
			c.Resource += "/" + l.ObjectRef.Subresource
		}
		out = append(out, c)
	}
}

// sort of a request.
type sort string

const (
	// sortLease is about the lease of the leader, Events about it included; it costs the same however
	// many Releases there are.
	sortLease sort = "lease"
	sortWatch sort = "watch"
	// sortEvent writes an Event.
	sortEvent sort = "event"
	// sortReview asks the API server something by a POST that stores nothing.
	sortReview sort = "review"
	sortWrite  sort = "write"
	sortRead   sort = "read"
)

var writing = []string{"create", "update", "patch", "delete", "deletecollection"}

func (c call) sort() sort {
	switch {
	case c.Resource == "leases", c.Resource == "events" && strings.HasPrefix(c.Name, leaseName+"."):
		return sortLease
	case c.Verb == "watch":
		return sortWatch
	case !slices.Contains(writing, c.Verb):
		return sortRead
	case c.Resource == "events":
		return sortEvent
	case strings.HasSuffix(c.Resource, "reviews"):
		return sortReview
	}
	return sortWrite
}

// tally counts requests of one sort, verb and resource.
type tally struct {
	Sort     sort   `json:"sort"`
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	Count    int    `json:"count"`
	// Refused were answered by an error, a conflict perhaps.
	Refused int `json:"refused,omitempty"`
}

// count sums up, the most frequent first.
func count(calls []call) []tally {
	type key struct {
		sort           sort
		verb, resource string
	}
	sums := map[key]*tally{}
	for _, c := range calls {
		k := key{c.sort(), c.Verb, c.Resource}
		if sums[k] == nil {
			sums[k] = &tally{Sort: k.sort, Verb: k.verb, Resource: k.resource}
		}
		sums[k].Count++
		if c.Code >= 400 && (c.Verb != "get" || c.Code != 404) {
			sums[k].Refused++
		}
	}
	out := make([]tally, 0, len(sums))
	for _, t := range sums {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b tally) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(string(a.Sort)+a.Verb+a.Resource, string(b.Sort)+b.Verb+b.Resource)
	})
	return out
}

// total is how many requests are of the sorts.
func total(tallies []tally, sorts ...sort) int {
	n := 0
	for _, t := range tallies {
		if slices.Contains(sorts, t.Sort) {
			n += t.Count
		}
	}
	return n
}

// firstAbout returns when the manager first wrote something about a Release after a time: an
// object of its name, or one whose name begins with it. only, where not empty, is the one resource
// that counts.
func firstAbout(calls []call, release string, after time.Time, only string) (time.Time, bool) {
	var first time.Time
	for _, c := range calls {
		if c.sort() != sortWrite || c.Code >= 400 || c.At.Before(after) || only != "" && c.Resource != only {
			continue
		}
		if c.Name != release && !strings.HasPrefix(c.Name, release+"-") {
			continue
		}
		if first.IsZero() || c.At.Before(first) {
			first = c.At
		}
	}
	return first, !first.IsZero()
}
