package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

const (
	// maxBody bounds a review in bytes: two objects of the 3 MiB that the API server takes,
	// and what JSON makes of them.
	maxBody = 8 << 20
	// bodyTimeout is how long sending a review may take. The API server gives up sooner.
	bodyTimeout = 10 * time.Second
	// maxDepth bounds how deep objects and lists may be in each other.
	maxDepth = 1000
	// keyDepth is how deep a key must be for being written twice to be nobody's business:
	// request, object, metadata, labels, and whatever is in them.
	keyDepth = 6
	// envelopeDepth is how deep keys belong to the review and not to an object.
	envelopeDepth = 3
	reviewVersion = "admission.k8s.io/v1"
)

// front stands before a handler of reviews and takes only what an API server sends: whoever
// reaches the port may post anything. A key that is written twice means one thing to one
// decoder and another to the next, and so is refused rather than read.
type front struct {
	next  http.Handler
	clock clock.PassiveClock
}

// ServeHTTP implements http.Handler.
func (f front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	// Where a connection cannot have deadlines, as in tests, there is none to hold either.
	limited := control.SetReadDeadline(f.clock.Now().Add(bodyTimeout)) == nil
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		w.Header().Set("Connection", "close")
		http.Error(w, ReasonMalformed+": wanted a review, found: "+err.Error(), status)
		return
	}
	if limited && control.SetReadDeadline(time.Time{}) != nil {
		w.Header().Set("Connection", "close")
	}
	if err := checkReview(body); err != nil {
		http.Error(w, ReasonMalformed+": wanted a review as an API server sends it, found: "+err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	f.next.ServeHTTP(w, r)
}

// frame is an object or a list that is open.
type frame struct {
	object bool
	// key is true where the next string is a key.
	key  bool
	keys []string
	many map[string]bool
}

// add says whether the key is new to the object.
func (f *frame) add(key string, fold bool) bool {
	if fold {
		key = strings.ToLower(key)
	}
	if f.many == nil {
		if slices.Contains(f.keys, key) {
			return false
		}
		f.keys = append(f.keys, key)
		if len(f.keys) == 32 {
			f.many = make(map[string]bool, 64)
			for _, k := range f.keys {
				f.many[k] = true
			}
		}
		return true
	}
	if f.many[key] {
		return false
	}
	f.many[key] = true
	return true
}

// checkReview goes over the bytes once. It looks for what is ambiguous, not for what is no
// JSON at all, which the decoder behind it refuses.
func checkReview(body []byte) error {
	s := scan{body: body, stack: make([]frame, 0, 32)}
	for i := 0; i < len(body); i++ {
		if body[i] == '"' {
			end := closing(body, i+1)
			if end < 0 {
				return errors.New("a text without an end")
			}
			if err := s.text(i, end); err != nil {
				return err
			}
			i = end
			continue
		}
		if err := s.mark(body[i]); err != nil {
			return err
		}
	}
	if !s.version {
		return fmt.Errorf("no apiVersion %s", reviewVersion)
	}
	return nil
}

// scan is where checkReview is.
type scan struct {
	body  []byte
	stack []frame
	// version is true once the review has said to be of reviewVersion.
	version bool
}

// mark takes what is not in a text.
func (s *scan) mark(b byte) error {
	n := len(s.stack)
	switch b {
	case '{', '[':
		if n == maxDepth {
			return fmt.Errorf("more than %d objects in each other", maxDepth)
		}
		s.stack = append(s.stack, frame{object: b == '{', key: b == '{'})
	case '}', ']':
		if n == 0 {
			return errors.New("no JSON object")
		}
		s.stack = s.stack[:n-1]
	case ',', ':':
		if n > 0 {
			s.stack[n-1].key = b == ',' && s.stack[n-1].object
		}
	}
	return nil
}

// text takes a text, with its quotes from one index to another.
func (s *scan) text(from, to int) error {
	n := len(s.stack)
	if n == 0 || n > keyDepth || !s.stack[n-1].object || !s.stack[n-1].key {
		return nil
	}
	key, err := text(s.body[from : to+1])
	if err != nil {
		return err
	}
	if !s.stack[n-1].add(key, n <= envelopeDepth && !inObject(s.stack)) {
		return fmt.Errorf("the key %q twice", key)
	}
	if n == 1 && key == "apiVersion" {
		s.version = valueIs(s.body[to+1:], reviewVersion)
	}
	return nil
}

// inObject says whether the innermost frame belongs to an object that is reviewed, whose
// keys may differ by case alone, as those of a ConfigMap.
func inObject(stack []frame) bool {
	if len(stack) < 3 {
		return false
	}
	keys := stack[1].keys
	return len(keys) > 0 && (keys[len(keys)-1] == "object" || keys[len(keys)-1] == "oldobject")
}

// closing returns where a text ends, or -1.
func closing(body []byte, from int) int {
	for i := from; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// text reads a quoted text, in which a letter may be written as an escape.
func text(quoted []byte) (string, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var out string
	if err := json.Unmarshal(quoted, &out); err != nil {
		return "", fmt.Errorf("a key that is no text: %w", err)
	}
	return out, nil
}

func valueIs(rest []byte, want string) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	rest, ok := bytes.CutPrefix(rest, []byte(":"))
	if !ok {
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(`"`+want+`"`))
}
