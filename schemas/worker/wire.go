package worker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

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
	OpCompile   Op = "compile"
	OpCompare   Op = "compare"
	OpImmutable Op = "immutable"
)

var ops = []Op{OpRender, OpCheck, OpCompile, OpCompare, OpImmutable}

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
}

// reply is the outcome of a request. At most one of Problems, Lines and Error is set.
type reply struct {
	// Unknown says that the child needs the files.
	Unknown bool `json:"unknown,omitempty"`

	Result     *render.Result     `json:"result,omitempty"`
	Comparison *render.Comparison `json:"comparison,omitempty"`
	Checked    *Checked           `json:"checked,omitempty"`

	// Problems are those of a *render.ValuesError, Lines of a *render.SourceError; Error is
	// the text of any other.
	Problems []render.Problem `json:"problems,omitempty"`
	Lines    []string         `json:"lines,omitempty"`
	Error    string           `json:"error,omitempty"`

	// Resident is the memory of the child, in bytes; 0 where the system does not tell.
	Resident int64 `json:"resident,omitempty"`
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
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
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
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading a frame: %w", err)
	}
	return nil
}
