package worker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/render"
)

// The test binary is its own worker, and also the workers that no program should be.
const (
	asWorker  = "render-worker"
	asGarbage = "garbage-worker"
	asMortal  = "mortal-worker"
	asEnviron = "environ-worker"
	asStopped = "stopped-worker"
	asHung    = "hung-worker"
	asParent  = "parent-of-worker"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case asWorker:
			os.Exit(Main())
		case asGarbage:
			os.Exit(garbage(os.Args[2]))
		case asMortal:
			os.Exit(mortal(os.Args[2]))
		case asEnviron:
			os.Exit(environ())
		case asStopped:
			os.Exit(stopped(os.Args[2]))
		case asHung:
			os.Exit(hung(os.Args[2]))
		case asParent:
			os.Exit(parent(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

// garbage answers every request with what no worker says; seed picks it.
func garbage(seed string) int {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return 3
	}
	r := bufio.NewReader(os.Stdin)
	var first hello
	if err := readFrame(r, &first); err != nil {
		return 3
	}
	for {
		var q request
		if err := readFrame(r, &q); err != nil {
			if errors.Is(err, io.EOF) {
				return 0
			}
			return 3
		}
		random := rand.New(rand.NewPCG(n, n))
		junk := make([]byte, random.IntN(64))
		for i := range junk {
			junk[i] = byte(random.Uint32())
		}
		framed := func(body []byte) []byte {
			return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		}
		answers := [][]byte{
			append(junk, make([]byte, 64)...),           // no frame
			{0xff, 0xff, 0xff, 0xff},                    // a frame too large
			framed(junk),                                // a frame that is no JSON
			framed([]byte(`{"result": 7}`)),             // JSON of another shape
			framed([]byte(`{"unknown": true}`)),         // files again and again
			framed([]byte(`{"result": {"Set": [{}]}}`)), // an object that is none
			{0, 0, 1, 0, 'x'},                           // half a frame
		}
		which := int(n) % (len(answers) + 1)
		if which == len(answers) {
			return 0 // the end, in the middle of a request
		}
		if _, err := os.Stdout.Write(answers[which]); err != nil {
			return 3
		}
		if which == len(answers)-1 {
			return 0
		}
	}
}

// mortal is killed in the middle of its first request, once for each file that is not in
// the folder yet, and is a good worker from then on.
func mortal(folder string) int {
	for _, name := range []string{"first", "second"} {
		marker := filepath.Join(folder, name)
		if _, err := os.Stat(marker); err == nil {
			continue
		}
		r := bufio.NewReader(os.Stdin)
		var first hello
		var q request
		if err := errors.Join(readFrame(r, &first), readFrame(r, &q), os.WriteFile(marker, nil, 0o600)); err != nil {
			return 3
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return 3
		}
	}
	return Main()
}

// environ answers one request with its environment.
func environ() int {
	r := bufio.NewReader(os.Stdin)
	var first hello
	var q request
	if err := errors.Join(readFrame(r, &first), readFrame(r, &q), writeFrame(os.Stdout, reply{Error: strings.Join(os.Environ(), " ")})); err != nil {
		return 3
	}
	return 0
}

// stopped stops in the middle of its first request, as a process does that the machine has
// no time for, where there is no file "stopped" in the folder yet; else it is a good worker.
func stopped(folder string) int {
	marker := filepath.Join(folder, "stopped")
	if _, err := os.Stat(marker); err == nil {
		return Main()
	}
	r := bufio.NewReader(os.Stdin)
	var first hello
	var q request
	if err := errors.Join(readFrame(r, &first), readFrame(r, &q), os.WriteFile(marker, nil, 0o600)); err != nil {
		return 3
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return 3
	}
	return 3
}

// parent is a program whose only worker is hung.
func parent(folder string) int {
	p, err := New(Options{Command: []string{os.Args[0], asHung, folder}, Workers: 1, Timeout: patient, unlimited: raceDetector})
	if err != nil {
		return 3
	}
	_ = p.Ping(context.Background())
	return 3 // it was to be killed before
}

// hung writes its number to the file "child" in the folder and does nothing ever after: it
// reads nothing, and so notices nothing.
func hung(folder string) int {
	if err := os.WriteFile(filepath.Join(folder, "child"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return 3
	}
	time.Sleep(time.Hour)
	return 3
}

// patient is a deadline that nothing good comes near.
const patient = 5 * time.Minute

func self(t testing.TB, args ...string) []string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{path}, args...)
}

// newPool returns a pool of this binary's workers.
func newPool(t testing.TB, o Options) *Pool {
	t.Helper()
	if o.Command == nil {
		o.Command = self(t, asWorker)
	}
	if raceDetector {
		o.unlimited, o.MaxIdle = true, max(o.MaxIdle, 1<<40)
	}
	// The processors do not run by a clock that the test sets.
	if o.Clock != nil && o.worked == nil {
		o.worked = func(int) (time.Duration, bool) { return 0, false }
	}
	// On a machine that does much else, what is good may take long.
	orDefault(&o.Timeout, patient)
	orDefault(&o.CheckTimeout, patient)
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// plain is the template of package render's tests, with more CUE after it.
func plain(t testing.TB, more string) Source {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "render", "testdata", "plain.cue"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"t.cue": string(text) + "\n" + more}
	return Source{Digest: render.Digest(files), Files: files}
}

func release(name string) render.Context {
	return render.Context{Name: name, Namespace: "shop", Template: "plain"}
}
