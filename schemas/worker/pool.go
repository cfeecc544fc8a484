package worker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/schemas/render"
)

// Defaults of Options.
const (
	DefaultWorkers      = 2
	DefaultMemory       = 256 << 20
	DefaultTimeout      = 2 * time.Second
	DefaultCheckTimeout = 3 * time.Second
	DefaultMaxRequests  = 10_000
	DefaultQueue        = 1024
)

// lookEvery is how often the memory of a worker that works is looked at.
const lookEvery = 25 * time.Millisecond

// Options say how large the pool is. Command is required, 0 elsewhere is the default.
type Options struct {
	// Command starts a child: a program that calls Main, and its arguments.
	Command []string
	// Workers is how many children work at the same time.
	Workers int
	// Memory is what one child may hold, in bytes; less than 0 is without a limit.
	Memory int64
	// Timeout bounds rendering one Release, CheckTimeout checking one template. Both are
	// counted from when a worker begins. A worker that the machine let work for less than
	// half of it is given more time, up to patience times as much.
	Timeout, CheckTimeout time.Duration
	// MaxRequests is how many requests a child answers before it is replaced. The engine
	// keeps every name of a field that it ever saw.
	MaxRequests int
	// MaxIdle is the memory in bytes at which a child without work is replaced; half of
	// Memory by default.
	MaxIdle int64
	// Queue is how many requests may wait.
	Queue int
	// Clock is for deadlines and back-off; the real one by default.
	Clock clock.WithTicker
	// Log takes what children write; nothing is logged by default.
	Log logr.Logger
	// Metrics are kept up to date; nobody sees them by default.
	Metrics *Metrics

	// unlimited leaves the limit of a child to the parent, which looks at it. For tests
	// under the race detector, which reserves more addresses than any limit.
	unlimited bool
	// worked tells the processor time of a process; that of the system by default. For
	// tests whose clock is not that of the processor.
	worked func(pid int) (time.Duration, bool)
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// complete fills in what was left out.
func (o *Options) complete() error {
	if len(o.Command) == 0 {
		return errors.New("setting up the render workers: wanted the Command that starts one, found none")
	}
	orDefault(&o.Workers, DefaultWorkers)
	orDefault(&o.Memory, DefaultMemory)
	orDefault(&o.Timeout, DefaultTimeout)
	orDefault(&o.CheckTimeout, DefaultCheckTimeout)
	orDefault(&o.MaxRequests, DefaultMaxRequests)
	orDefault(&o.MaxIdle, o.Memory/2)
	orDefault(&o.Queue, DefaultQueue)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.worked == nil {
		o.worked = processorTime
	}
	if o.Workers < 0 || o.Timeout < 0 || o.CheckTimeout < 0 || o.MaxRequests < 0 || o.Queue < 0 {
		return fmt.Errorf("setting up the render workers: wanted numbers above 0, found %d workers, %s and %s, %d requests, a queue of %d", o.Workers, o.Timeout, o.CheckTimeout, o.MaxRequests, o.Queue)
	}
	return nil
}

// Pool runs what a template computes in child processes. It is safe for concurrent use.
type Pool struct {
	options Options
	queue   *queue
	grudges *grudges
	// slots are done when their processes have ended.
	slots sync.WaitGroup
	ended chan struct{}
	// questions counts what policies were asked.
	questions atomic.Uint64
	close     sync.Once
}

// New returns a pool. Children are started when they are needed, and end with Close.
func New(o Options) (*Pool, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	held, err := newGrudges(o.Clock)
	if err != nil {
		return nil, err
	}
	suspect := held.suspect
	if o.Workers == 1 {
		suspect = func(string) bool { return false } // one at a time in any case
	}
	p := &Pool{options: o, grudges: held, queue: newQueue(o.Queue, suspect, o.Metrics.queued), ended: make(chan struct{})}
	for i := range o.Workers {
		s := &slot{pool: p, number: i + 1}
		p.slots.Go(s.run)
	}
	return p, nil
}

// Close ends the pool: requests under way and later ones fail with ErrClosed. It returns
// when all children have ended.
func (p *Pool) Close() {
	p.close.Do(func() {
		close(p.ended)
		for _, j := range p.queue.close() {
			j.done <- outcome{err: ErrClosed}
		}
	})
	p.slots.Wait()
}

// Source is a template: its files and their digest, which is computed where it is empty.
type Source struct {
	Digest string
	Files  map[string]string
}

func (s Source) digest() string {
	if s.Digest != "" {
		return s.Digest
	}
	return render.Digest(s.Files)
}

// Checked is what is known of a template that compiled and passed its own tests.
type Checked struct {
	// Schema is the JSON Schema of its values.
	Schema json.RawMessage `json:"schema"`
	// Took is the time that this took, Allocated the memory that was used up, in bytes.
	Took      time.Duration `json:"took"`
	Allocated uint64        `json:"allocated"`
}

// checks is the group of what concerns a template and no Release.
const checks = "\x00templates"

func ofTemplate(digest string) owner {
	return owner{name: "template source " + digest, group: checks}
}

func ofRelease(c render.Context) owner {
	return owner{name: "Release " + c.Namespace + "/" + c.Name, group: c.Namespace}
}

// Ping finds out whether a worker can be started and answers.
func (p *Pool) Ping(ctx context.Context) error {
	_, err := p.do(ctx, owner{name: "the manager", group: checks}, request{Op: OpPing}, "")
	return err
}

// Check compiles a template that may never be published and runs its own tests. The error
// is a *render.SourceError where these fail.
func (p *Pool) Check(ctx context.Context, files map[string]string) (*Checked, error) {
	digest := render.Digest(files)
	r, err := p.do(ctx, ofTemplate(digest), request{Op: OpCheck, Files: files}, digest)
	if err != nil {
		return nil, err
	}
	return r.Checked, nil
}

// Vet returns what render.Vet finds in a template that may never be published, without what
// takes it longest.
func (p *Pool) Vet(ctx context.Context, files map[string]string) ([]render.Finding, error) {
	digest := render.Digest(files)
	r, err := p.do(ctx, ofTemplate(digest), request{Op: OpVet, Files: files}, digest)
	if err != nil {
		return nil, err
	}
	return r.Findings, nil
}

// Compile compiles a template for requests to come, in each worker, one after the other. It
// stops at the first error.
func (p *Pool) Compile(ctx context.Context, s Source) error {
	digest := s.digest()
	for i := range p.options.Workers {
		if _, err := p.doIn(ctx, i+1, ofTemplate(digest), request{Op: OpCompile, Digest: digest, Files: s.Files}, ""); err != nil {
			return err
		}
	}
	return nil
}

// Render renders the values of a Release as render.Template.Render does.
func (p *Pool) Render(ctx context.Context, s Source, values []byte, c render.Context) (*render.Result, error) {
	r, err := p.do(ctx, ofRelease(c), request{Op: OpRender, Digest: s.digest(), Files: s.Files, Values: values, Context: c}, "")
	if err != nil {
		return nil, err
	}
	if r.Result == nil {
		return nil, errors.New("rendering in a worker: it answered without a result")
	}
	return r.result(), nil
}

// Compare says what a change of a template means for those who use it, as render.Compare
// does. The error is a *render.SourceError where after does not compile.
func (p *Pool) Compare(ctx context.Context, before, after map[string]string) (*render.Comparison, error) {
	was, is := render.Digest(before), render.Digest(after)
	r, err := p.do(ctx, ofTemplate(is), request{Op: OpCompare, Before: before, Files: after}, was+is)
	if err != nil {
		return nil, err
	}
	return r.Comparison, nil
}

// Immutable compares two sets of values as render.Template.Immutable does. Name says whose
// they are.
func (p *Pool) Immutable(ctx context.Context, s Source, was, now []byte) error {
	digest := s.digest()
	_, err := p.do(ctx, ofTemplate(digest), request{Op: OpImmutable, Digest: digest, Files: s.Files, Was: was, Values: now}, "")
	return err
}

// do brings one request to a worker and waits for the answer. Extra is what the answer
// depends on beside the fields of the request, the files aside.
func (p *Pool) do(ctx context.Context, who owner, q request, extra string) (*reply, error) {
	return p.doIn(ctx, 0, who, q, extra)
}

// doIn does it in one slot; see job.only.
func (p *Pool) doIn(ctx context.Context, slot int, who owner, q request, extra string) (*reply, error) {
	start := p.options.Clock.Now()
	r, how, err := p.try(ctx, slot, who, q, extra)
	p.options.Metrics.answered(q.Op, how, p.options.Clock.Since(start))
	return r, err
}

// ofTemplates says whether an operation needs a template.
func ofTemplates(op Op) bool {
	return !slices.Contains([]Op{OpPing, OpPolicyCompile, OpPolicyJudge}, op)
}

func (p *Pool) try(ctx context.Context, slot int, who owner, q request, extra string) (*reply, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, outcomeCanceled, fmt.Errorf("rendering in a worker: %w", err)
	}
	if len(q.Files) == 0 && ofTemplates(q.Op) {
		_, err := render.Compile(q.Files) // which says what is missing, without any work
		return nil, outcomeSource, err
	}
	j := &job{request: q, owner: who, only: slot, input: input(q, extra), done: make(chan outcome, 1)}
	if old := p.grudges.against(j); old != nil {
		return nil, outcomeRemembered, old
	}
	if err := p.queue.add(j); err != nil {
		return nil, outcomeBusy, err
	}
	select {
	case out := <-j.done:
		if out.err != nil {
			return nil, how(out.err), out.err
		}
		if err := out.reply.err(); err != nil {
			return nil, how(err), err
		}
		return out.reply, outcomeOK, nil
	case <-ctx.Done():
		p.queue.drop(j)
		return nil, outcomeCanceled, fmt.Errorf("rendering in a worker: %w", ctx.Err())
	}
}

// input is the digest of what the answer to a request depends on.
func input(q request, extra string) string {
	sum := sha256.New()
	var size [8]byte
	for _, part := range [][]byte{[]byte(q.Op), []byte(q.Digest), []byte(extra), q.Was, q.Values, []byte(q.Context.Name), []byte(q.Context.Namespace), []byte(q.Context.Template)} {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		sum.Write(size[:])
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func how(err error) string {
	var (
		bomb   *BombError
		values *render.ValuesError
		source *render.SourceError
	)
	switch {
	case errors.Is(err, ErrStarved):
		return outcomeStarved
	case errors.As(err, &bomb):
		return outcomeBudget
	case errors.As(err, &values):
		return outcomeValues
	case errors.As(err, &source):
		return outcomeSource
	}
	return outcomeError
}
