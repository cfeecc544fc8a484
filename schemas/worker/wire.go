package worker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/policies/eval/cuepolicy"
	"tidegate.io/tidegate/schemas/render"
)

// Parent and child exchange frames: four bytes with the length, the highest first, and as
// many bytes of JSON. The parent begins with a hello; after it each request has one reply.

// maxFrame bounds one frame: a template, values and what they render to, in JSON, some of
// it in base64, stay far below.
const maxFrame = 16 << 20

// hello is the first frame.
type hello struct {
	// Memory is what the child may hold, in bytes; 0 is no limit.
	Memory int64 `json:"memory"`
}

// Op is what is asked of a worker.
type Op string

// The operations.
const (
	OpRender    Op = "render"
	OpCheck     Op = "check"
	OpVet       Op = "vet"
	OpCompile   Op = "compile"
	OpCompare   Op = "compare"
	OpImmutable Op = "immutable"
	OpPing      Op = "ping"
	// OpPolicyCompile and OpPolicyJudge are about policies; see Policies.
	OpPolicyCompile Op = "policy-compile"
	OpPolicyJudge   Op = "policy-judge"
)

var ops = []Op{OpRender, OpCheck, OpVet, OpCompile, OpCompare, OpImmutable, OpPing, OpPolicyCompile, OpPolicyJudge}

type request struct {
	Op Op `json:"op"`
	// Digest names the template; Files follow only when the child has not seen them.
	Digest string            `json:"digest,omitempty"`
	Files  map[string]string `json:"files,omitempty"`
	// Before are the files that OpCompare compares Files with.
	Before map[string]string `json:"before,omitempty"`
	// Was and Values are JSON as somebody wrote it, which may be none.
	Was     []byte         `json:"was,omitempty"`
	Values  []byte         `json:"values,omitempty"`
	Context render.Context `json:"context"`
	// Object and Input are what policies are asked about, as JSON. The source of one is left
	// out when the child has seen it.
	Object []byte            `json:"object,omitempty"`
	Input  []byte            `json:"input,omitempty"`
	Asked  []cuepolicy.Asked `json:"asked,omitempty"`
	// parts, if set, take the replies before the last.
	parts *parts
}

// reply is the outcome of a request. At most one of Problems, Lines and Error is set.
type reply struct {
	// Unknown says that the child needs the files.
	Unknown bool `json:"unknown,omitempty"`

	// Result is without its objects, which are beside it: as maps they are written and read
	// in a quarter of the time.
	Result *render.Result   `json:"result,omitempty"`
	Set    []map[string]any `json:"set,omitempty"`
	Route  map[string]any   `json:"route,omitempty"`
	Shared []map[string]any `json:"shared,omitempty"`
	// Jobs are by their names in the template.
	Jobs map[string]map[string]any `json:"jobs,omitempty"`

	Comparison *render.Comparison `json:"comparison,omitempty"`
	Checked    *Checked           `json:"checked,omitempty"`
	Findings   []render.Finding   `json:"findings,omitempty"`

	// Part is that of a request that is answered in parts. A reply without one ends them.
	Part *part `json:"part,omitempty"`
	// Mistakes are those of a policy.
	Mistakes []string `json:"mistakes,omitempty"`

	// Problems are those of a *render.ValuesError, Lines of a *render.SourceError; Error is
	// the text of any other.
	Problems []render.Problem `json:"problems,omitempty"`
	Lines    []string         `json:"lines,omitempty"`
	Error    string           `json:"error,omitempty"`

	// Resident is the memory in bytes that the child held after the request before this one;
	// 0 where the system does not tell.
	Resident int64 `json:"resident,omitempty"`
}

// setResult puts a result in.
func (r *reply) setResult(whole *render.Result) {
	rest := *whole
	r.Set, r.Shared = maps(rest.Set), maps(rest.Shared)
	if rest.Route != nil {
		r.Route = rest.Route.Object
	}
	for name, job := range rest.Jobs {
		if r.Jobs == nil {
			r.Jobs = map[string]map[string]any{}
		}
		r.Jobs[name] = job.Object
	}
	rest.Set, rest.Route, rest.Shared, rest.Jobs = nil, nil, nil, nil
	r.Result = &rest
}

// result takes it out again.
func (r *reply) result() *render.Result {
	whole := *r.Result
	whole.Set, whole.Shared = objects(r.Set), objects(r.Shared)
	if r.Route != nil {
		whole.Route = &unstructured.Unstructured{Object: r.Route}
	}
	for name, job := range r.Jobs {
		if whole.Jobs == nil {
			whole.Jobs = map[string]*unstructured.Unstructured{}
		}
		whole.Jobs[name] = &unstructured.Unstructured{Object: job}
	}
	return &whole
}

func maps(list []*unstructured.Unstructured) []map[string]any {
	out := make([]map[string]any, len(list))
	for i, o := range list {
		out[i] = o.Object
	}
	return out
}

func objects(list []map[string]any) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(list))
	for i, o := range list {
		out[i] = &unstructured.Unstructured{Object: o}
	}
	return out
}

// err is the error that the child answered with.
func (r *reply) err() error {
	switch {
	case len(r.Problems) > 0:
		return &render.ValuesError{Problems: r.Problems}
	case len(r.Lines) > 0:
		return &render.SourceError{Lines: r.Lines}
	case r.Error != "":
		return &workError{r.Error}
	}
	return nil
}

// workError is an error of package render that has no type of its own.
type workError struct{ text string }

func (e *workError) Error() string { return e.text }

func writeFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a frame: %w", err)
	}
	if len(body) > maxFrame {
		return fmt.Errorf("encoding a frame: wanted at most %d bytes, found %d", maxFrame, len(body))
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))) //nolint:gosec // bounded above
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	return nil
}

// readFrame returns io.EOF where the other side has ended between two frames.
func readFrame(r io.Reader, into any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err //nolint:wrapcheck // io.EOF is the answer
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return fmt.Errorf("reading a frame: wanted at most %d bytes, found %d", maxFrame, size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("reading a frame: %w", err)
	}
	// It keeps whole numbers whole, as objects have them.
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, into); err != nil {
		return fmt.Errorf("reading a frame: %w", err)
	}
	return nil
}
