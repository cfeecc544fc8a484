package worker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/policies/eval/cuepolicy"
	"tidegate.io/tidegate/schemas/render"
)

const (
	// maxStack ends a child that recurses without end long before its memory does.
	maxStack = 64 << 20
	// gcPercent lets the heap of a child, which is small, grow to five times what lives
	// before it is collected: rendering makes much that dies at once.
	gcPercent = 400
)

// Main is the child: it serves the parent on the standard input and output of the process
// until the parent closes the input, and returns the exit code.
func Main() int {
	in, out := os.Stdin, os.Stdout
	// What anybody prints goes to the log, not between the frames.
	os.Stdout = os.Stderr
	// A parent that is gone must not be served: a template that never ends would keep the
	// process for ever.
	go func() {
		awaitHangup(in)
		os.Exit(0)
	}()
	if err := serve(in, out); err != nil {
		fmt.Fprintf(os.Stderr, "render-worker: %v\n", err)
		return 1
	}
	return 0
}

// serve answers requests, one after the other, until in ends.
func serve(in io.Reader, out io.Writer) error {
	r := bufio.NewReader(in)
	var first hello
	if err := readFrame(r, &first); err != nil {
		return atEnd(err)
	}
	if err := limitProcess(first.Memory); err != nil {
		return err
	}
	child := &child{compiled: new(render.Cache), send: func(r *reply) error { return writeFrame(out, r) }}
	for {
		var q request
		if err := readFrame(r, &q); err != nil {
			return atEnd(err)
		}
		answer := child.answer(q)
		answer.Resident = child.resident
		if err := writeFrame(out, answer); err != nil {
			return err
		}
		// Nobody waits for this: it goes with the next reply.
		child.resident = resident(os.Getpid())
	}
}

// atEnd is what reading ended with; that the parent is done is no error.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// limitProcess bounds this process before it works for anybody.
func limitProcess(memory int64) error {
	debug.SetMaxStack(maxStack)
	debug.SetGCPercent(gcPercent)
	if memory <= 0 {
		return nil
	}
	// The collector works hard before the limit ends the process.
	debug.SetMemoryLimit(memory / 4 * 3)
	return limitMemory(memory)
}

// child is what a worker keeps between requests.
type child struct {
	compiled *render.Cache
	// policies are those in CUE, by digest.
	policies *lru.LRU[string, *cuepolicy.Policy]
	// send gives the parent a part of an answer.
	send func(*reply) error
	// resident is the memory in bytes that it held after the last one.
	resident int64
}

func (c *child) answer(q request) *reply {
	a, err := c.work(q)
	if a == nil {
		a = &reply{}
	}
	if err == nil {
		return a
	}
	if wrong, ok := errors.AsType[*render.ValuesError](err); ok {
		a.Problems = wrong.Problems
	} else if broken, ok := errors.AsType[*render.SourceError](err); ok {
		a.Lines = broken.Lines
	} else {
		a.Error = err.Error()
	}
	return a
}

func (c *child) work(q request) (*reply, error) {
	switch q.Op {
	case OpPing:
		return nil, nil //nolint:nilnil // that there is an answer is the answer
	case OpCheck:
		checked, err := check(q.Files)
		return &reply{Checked: checked}, err
	case OpVet:
		return &reply{Findings: render.Vet(q.Files, render.VetOptions{Shallow: true})}, nil
	case OpCompare:
		comparison, err := compare(q.Before, q.Files)
		return &reply{Comparison: comparison}, err
	case OpCompile, OpRender, OpImmutable:
		return c.withTemplate(q)
	case OpPolicyCompile:
		return compilePolicy(q)
	case OpPolicyJudge:
		return c.judge(q)
	}
	return nil, fmt.Errorf("wanted one of %v, found the operation %q", ops, q.Op)
}

// withTemplate does what is asked of a template that is kept between requests.
func (c *child) withTemplate(q request) (*reply, error) {
	template, known, err := c.template(q)
	if !known || err != nil {
		return &reply{Unknown: !known}, err
	}
	switch q.Op {
	case OpRender:
		result, err := template.Render(q.Values, q.Context)
		if err != nil {
			return nil, err
		}
		answer := &reply{}
		answer.setResult(result)
		return answer, nil
	case OpImmutable:
		return nil, template.Immutable(q.Was, q.Values)
	default:
		return nil, nil //nolint:nilnil // that it compiles is the answer
	}
}

// template returns the compiled template; known is false where the files are needed.
func (c *child) template(q request) (template *render.Template, known bool, err error) {
	if len(q.Files) == 0 {
		return c.compiled.Find(q.Digest)
	}
	if found := render.Digest(q.Files); found != q.Digest {
		return nil, true, fmt.Errorf("wanted files of the digest %s, found %s", q.Digest, found)
	}
	template, err = c.compiled.Get(q.Files)
	return template, true, err
}

// check compiles a template aside, since it may never be published, and runs its tests.
func check(files map[string]string) (*Checked, error) {
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	watch := clock.RealClock{}
	start := watch.Now()
	template, err := render.Compile(files)
	if err != nil {
		return nil, err
	}
	if err := template.Check(); err != nil {
		return nil, err
	}
	schema, err := template.Schema()
	if err != nil {
		return nil, err
	}
	took := watch.Since(start)
	runtime.ReadMemStats(&is)
	return &Checked{Schema: schema, Took: took, Allocated: is.TotalAlloc - was.TotalAlloc}, nil
}

func compare(before, after map[string]string) (*render.Comparison, error) {
	was, err := render.Compile(before)
	if err != nil {
		return nil, fmt.Errorf("compiling the template as it was: %w", err)
	}
	is, err := render.Compile(after)
	if err != nil {
		return nil, err
	}
	return render.Compare(was, is)
}
