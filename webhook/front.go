package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	utiljson "sigs.k8s.io/json"
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
	body, err := readAll(http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength)
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
	if f.answered(w, r, body) {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	f.next.ServeHTTP(w, r)
}

// largestReview is the most that the handler behind takes, in bytes.
const largestReview = 7 << 20

// answered answers an ordinary review. The handler behind would go over the bytes four times
// to find out what it is, which is most of the work where nothing is to be judged. It
// decodes with the same decoder, once; what it says no to is for the handler to word.
func (f front) answered(w http.ResponseWriter, r *http.Request, body []byte) bool {
	handler, ok := f.next.(*admission.Webhook)
	if !ok || handler.WithContextFunc != nil || len(body) >= largestReview || r.Header.Get("Content-Type") != "application/json" {
		return false
	}
	var request admission.Request
	review := admissionv1.AdmissionReview{Request: &request.AdmissionRequest}
	if err := utiljson.UnmarshalCaseSensitivePreserveInts(body, &review); err != nil || review.Request == nil ||
		review.Kind != "AdmissionReview" || review.APIVersion != reviewVersion {
		return false
	}
	response := handler.Handle(r.Context(), request)
	answer := admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: &response.AdmissionResponse}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		ctrl.LoggerFrom(r.Context()).V(1).Info("Answer could not be sent", "error", err.Error()) // whoever asked is gone
	}
	return true
}

// firstRead is how much memory a body gets before any of it was sent, in bytes. Who says to
// send much and sends nothing costs no more.
const firstRead = 64 << 10

// readAll reads a body that says to be so long; -1 is unknown.
func readAll(r io.Reader, length int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(length, 0), firstRead)) + bytes.MinRead)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err //nolint:wrapcheck // it tells the caller which error it is
}

// frame is an object or a list that is open.
type frame struct {
	object bool
	// key is true where the next string is a key.
	key bool
	// keys are those so far, until there are many.
	keys [][]byte
	many map[string]bool
}

// manyKeys is how many keys of an object are compared one by one. No object of a review
// itself has so many.
const manyKeys = 32

// add says whether the key is new to the object. With fold two keys that differ by case
// alone are one, as they are to the decoder behind.
func (f *frame) add(key []byte, fold bool) bool {
	if f.many != nil {
		if f.many[string(key)] {
			return false
		}
		f.many[string(key)] = true
		return true
	}
	for _, k := range f.keys {
		if bytes.Equal(k, key) || (fold && bytes.EqualFold(k, key)) {
			return false
		}
	}
	f.keys = append(f.keys, key)
	if len(f.keys) >= manyKeys {
		f.many = make(map[string]bool, 2*manyKeys)
		for _, k := range f.keys {
			f.many[string(k)] = true
		}
	}
	return true
}

// checkReview goes over the bytes once. It looks for what is ambiguous, not for what is no
// JSON at all, which the decoder behind it refuses.
func checkReview(body []byte) error {
	s := scan{body: body, stack: make([]frame, 0, 16), spare: make([][]byte, keyDepth*manyKeys)}
	for i := 0; i < len(body); i++ {
		switch b := body[i]; b {
		case '"':
			end := closing(body, i+1)
			if end < 0 {
				return errors.New("a text without an end")
			}
			if err := s.text(i, end); err != nil {
				return err
			}
			i = end
		case '{', '[', '}', ']', ',', ':':
			if err := s.mark(b); err != nil {
				return err
			}
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
	// spare is where the keys of open objects are kept, manyKeys for each of keyDepth.
	spare [][]byte
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
		f := frame{object: b == '{', key: b == '{'}
		if f.object && n < keyDepth {
			f.keys = s.spare[n*manyKeys : n*manyKeys : (n+1)*manyKeys]
		}
		s.stack = append(s.stack, f)
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
	fold := n <= envelopeDepth && !inObject(s.stack)
	if !s.stack[n-1].add(key, fold) {
		return fmt.Errorf("the key %q twice", key)
	}
	if fold && s.stack[n-1].many != nil {
		return fmt.Errorf("%d keys in one object of the review itself", manyKeys)
	}
	if n == 1 && string(key) == "apiVersion" {
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
	if len(keys) == 0 {
		return false
	}
	last := keys[len(keys)-1]
	return bytes.EqualFold(last, []byte("object")) || bytes.EqualFold(last, []byte("oldObject"))
}

// closing returns where a text ends that begins at an index, or -1.
func closing(body []byte, from int) int {
	for at := from; ; at++ {
		n := bytes.IndexByte(body[at:], '"')
		if n < 0 {
			return -1
		}
		at += n
		escapes := 0
		for at-1-escapes >= from && body[at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return at
		}
	}
}

// text reads a quoted text, in which a letter may be written as an escape.
func text(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var out string
	if err := json.Unmarshal(quoted, &out); err != nil {
		return nil, fmt.Errorf("a key that is no text: %w", err)
	}
	return []byte(out), nil
}

func valueIs(rest []byte, want string) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	rest, ok := bytes.CutPrefix(rest, []byte(":"))
	if !ok {
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(`"`+want+`"`))
}
