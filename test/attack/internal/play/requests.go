package play

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/world"
)

// requests makes the attempt's own requests and judges their answers.
func (s *scene) requests(ctx context.Context) error {
	if s.attempt.Review != nil {
		review, err := attempt.Expanded(*s.attempt.Review, s.variables())
		if err != nil {
			return err
		}
		answers, err := s.review(ctx, review)
		if err != nil {
			return err
		}
		return s.judge("", s.attempt.Expect, answers)
	}
	all := s.attempt.All()
	if !s.attempt.Parallel {
		for i, r := range all {
			answers, err := s.oneRequest(ctx, r)
			if err != nil {
				return fmt.Errorf("request %d: %w", i+1, err)
			}
			if err := s.judge(numbered(i, all), cmpExpect(r.Expect, s.attempt.Expect), answers); err != nil {
				return err
			}
		}
		return nil
	}
	answers, errs := make([][]Answer, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for i, r := range all {
		wg.Go(func() { answers[i], errs[i] = s.oneRequest(ctx, r) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, r := range all {
		if err := s.judge(numbered(i, all), cmpExpect(r.Expect, s.attempt.Expect), answers[i]); err != nil {
			return err
		}
	}
	return nil
}

func cmpExpect(own, common *attempt.Expect) *attempt.Expect {
	if own != nil {
		return own
	}
	return common
}

func numbered(i int, all []attempt.Request) string {
	if len(all) == 1 {
		return ""
	}
	return fmt.Sprintf("%d: ", i+1)
}

func (s *scene) judge(prefix string, expect *attempt.Expect, answers []Answer) error {
	e, err := attempt.Expanded(*expect, s.variables())
	if err != nil {
		return err
	}
	for _, a := range answers {
		s.found = append(s.found, prefix+a.String())
		for _, p := range judge(e, a) {
			if p = prefix + p; !slices.Contains(s.problems, p) {
				s.problem("%s", p)
			}
		}
	}
	return nil
}

func (s *scene) oneRequest(ctx context.Context, r attempt.Request) ([]Answer, error) {
	r, err := attempt.Expanded(r, s.variables())
	if err != nil {
		return nil, err
	}
	return s.request(ctx, r)
}

// request makes a request as often as it says. Its variables are replaced already.
func (s *scene) request(ctx context.Context, r attempt.Request) ([]Answer, error) {
	as := r.As
	if as == nil {
		as = s.attempt.As
	}
	as, err := attempt.Expanded(as, s.variables())
	if err != nil {
		return nil, err
	}
	person, err := s.world.Person(ctx, as)
	if err != nil {
		return nil, err
	}
	body, err := bodyOf(r.Body, r.BodyBase64, r.Fill)
	if err != nil {
		return nil, err
	}
	if err := s.complete(&r); err != nil {
		return nil, err
	}
	answers, err := repeat(r.Repeat, r.Concurrency, func() (Answer, error) { return s.send(ctx, person, r, body) })
	if err != nil {
		return nil, err
	}
	for name, field := range r.Capture {
		if err := s.captureAnswer(name, field, answers); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// captureAnswer sets a variable to a field of the first answer; what is not there is empty,
// since the request may have been refused, as it should be.
func (s *scene) captureAnswer(name, field string, answers []Answer) error {
	var object map[string]any
	s.assign(name, "")
	if len(answers) == 0 {
		return nil
	}
	if err := json.Unmarshal(answers[0].body, &object); err != nil {
		return nil //nolint:nilerr // It need not be JSON.
	}
	value, ok, err := lookup(object, field)
	if err != nil {
		return err
	}
	if ok {
		s.assign(name, text(value))
	}
	return nil
}

func repeat(n, concurrency int, do func() (Answer, error)) ([]Answer, error) {
	n, concurrency = max(n, 1), max(concurrency, 1)
	answers, errs := make([]Answer, n), make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, concurrency)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answers[i], errs[i] = do()
		})
	}
	wg.Wait()
	return answers, errors.Join(errs...)
}

// complete fills in what follows from the body and from the verb.
func (s *scene) complete(r *attempt.Request) error {
	if o, ok := r.Body.(map[string]any); ok {
		u := unstructured.Unstructured{Object: o}
		if r.Path == "" && r.Resource == "" && u.GetKind() != "" {
			resource, _, err := s.world.Resource(u.GetAPIVersion(), u.GetKind())
			if err != nil {
				return err
			}
			r.Resource = resource
		}
		if r.APIVersion == "" {
			r.APIVersion = u.GetAPIVersion()
		}
		if r.Name == "" && slices.Contains([]string{"update", "patch", "apply"}, r.Verb) {
			r.Name = u.GetName()
		}
	}
	if r.Path != "" {
		return nil
	}
	if r.APIVersion == "" || r.Resource == "" {
		return errors.New("wanted apiVersion and resource, or a body that has a kind, or a path")
	}
	namespace := s.namespace()
	if r.Namespace != nil {
		namespace = *r.Namespace
	} else if !s.world.Namespaced(r.APIVersion, r.Resource) {
		namespace = ""
	}
	r.Path = world.ResourcePath(r.APIVersion, r.Resource, r.Subresource, namespace, r.Name)
	return nil
}

// methods and contentTypes follow from the verb.
var (
	methods = map[string]string{
		"create": http.MethodPost, "update": http.MethodPut, "patch": http.MethodPatch, "apply": http.MethodPatch,
		"delete": http.MethodDelete, "deletecollection": http.MethodDelete,
		"get": http.MethodGet, "list": http.MethodGet, "watch": http.MethodGet, "connect": http.MethodPost,
	}
	contentTypes = map[string]string{
		"json": "application/json-patch+json", "merge": "application/merge-patch+json",
		"strategic": "application/strategic-merge-patch+json", "apply": "application/apply-patch+yaml",
	}
)

// conflicts is how often an edit is tried again when somebody else wrote in between.
const conflicts = 8

func (s *scene) send(ctx context.Context, p *world.Person, r attempt.Request, body []byte) (Answer, error) {
	if len(r.Edit) == 0 {
		return s.sendOnce(ctx, p, r, body)
	}
	raw, err := json.Marshal(r.Edit)
	if err != nil {
		return Answer{}, fmt.Errorf("edit: %w", err)
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		return Answer{}, fmt.Errorf("edit: %w", err)
	}
	for try := 1; ; try++ {
		live, err := s.world.Live(ctx, r.Path)
		if err != nil {
			return Answer{}, err
		}
		edited, err := patch.Apply(live)
		if err != nil {
			return Answer{}, fmt.Errorf("edit: %w", err)
		}
		a, err := s.sendOnce(ctx, p, r, edited)
		if err != nil || a.Status != http.StatusConflict || try == conflicts {
			return a, err
		}
	}
}

func (s *scene) sendOnce(ctx context.Context, p *world.Person, r attempt.Request, body []byte) (Answer, error) {
	method := r.Method
	if method == "" {
		method = methods[r.Verb]
	}
	if body == nil && method == http.MethodDelete {
		body = deleteOptions(r)
	}
	var reader io.Reader = http.NoBody
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := p.Request(ctx, method, r.Path, queryOf(r), reader)
	if err != nil {
		return Answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType(r))
	}
	for k, v := range r.Headers {
		req.Header.Set(k, v)
	}
	status, answer, header, err := p.Send(req)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: no answer: %w", summary(r), err)
	}
	return answered(status, answer, header), nil
}

func contentType(r attempt.Request) string {
	switch {
	case r.ContentType != "":
		return r.ContentType
	case r.Verb == "apply":
		return contentTypes["apply"]
	case r.Verb == "patch":
		return contentTypes[r.PatchType]
	}
	return "application/json"
}

func deleteOptions(r attempt.Request) []byte {
	o := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions"}
	if r.PropagationPolicy != "" {
		o["propagationPolicy"] = r.PropagationPolicy
	}
	if r.GracePeriodSeconds != nil {
		o["gracePeriodSeconds"] = *r.GracePeriodSeconds
	}
	if p := r.Preconditions; p != nil {
		conditions := map[string]any{}
		if p.UID != "" {
			conditions["uid"] = p.UID
		}
		if p.ResourceVersion != "" {
			conditions["resourceVersion"] = p.ResourceVersion
		}
		o["preconditions"] = conditions
	}
	if r.DryRun {
		o["dryRun"] = []string{"All"}
	}
	raw, err := json.Marshal(o)
	if err != nil { // Only texts and numbers are in it.
		return nil
	}
	return raw
}

func queryOf(r attempt.Request) url.Values {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	if r.DryRun {
		set("dryRun", "All")
	}
	set("fieldManager", r.FieldManager)
	if r.Verb == "apply" && r.FieldManager == "" {
		set("fieldManager", "kubectl")
	}
	if r.Force {
		set("force", "true")
	}
	set("fieldValidation", r.FieldValidation)
	set("labelSelector", r.LabelSelector)
	set("fieldSelector", r.FieldSelector)
	if r.Verb == "watch" {
		set("watch", "true")
		set("timeoutSeconds", "1")
	}
	maps.Copy(q, r.Query)
	return q
}

// bodyOf is the bytes of a body; nil is none.
func bodyOf(body any, encoded string, fills []attempt.Fill) ([]byte, error) {
	if encoded != "" {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if err != nil {
			return nil, fmt.Errorf("bodyBase64: %w", err)
		}
		return raw, nil
	}
	switch b := body.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(b), nil
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if len(fills) == 0 {
		return raw, nil
	}
	var plain any
	if err := json.Unmarshal(raw, &plain); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	for _, f := range fills {
		if plain, err = fill(plain, strings.Split(f.At, "/")[1:], f); err != nil {
			return nil, fmt.Errorf("fill %s: %w", f.At, err)
		}
	}
	return json.Marshal(plain)
}

// fill puts the copies where the path leads and returns the value with them in it.
func fill(in any, path []string, f attempt.Fill) (any, error) {
	if len(path) == 0 {
		return filled(in, f)
	}
	key := strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])
	switch container := in.(type) {
	case map[string]any:
		inner, err := fill(container[key], path[1:], f)
		container[key] = inner
		return container, err
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(container) {
			return in, fmt.Errorf("wanted an index below %d, found %q", len(container), key)
		}
		container[i], err = fill(container[i], path[1:], f)
		return container, err
	case nil:
		inner, err := fill(nil, path[1:], f)
		return map[string]any{key: inner}, err
	}
	return in, fmt.Errorf("wanted an object or a list, found %T", in)
}

func filled(in any, f attempt.Fill) (any, error) {
	list, isList := in.([]any)
	object, isObject := in.(map[string]any)
	if in == nil {
		if isList = f.Key == ""; !isList {
			object, isObject = map[string]any{}, true
		}
	}
	for i := range f.Count {
		number := strconv.Itoa(i)
		value, err := attempt.ExpandedCopy(f.Value, number)
		if err != nil {
			return in, err
		}
		switch {
		case isList:
			list = append(list, value)
		case isObject && f.Key != "":
			object[strings.ReplaceAll(f.Key, "${i}", number)] = value
		default:
			return in, errors.New("wanted a list, or an object and a key")
		}
	}
	if isList {
		return list, nil
	}
	return object, nil
}

// review posts a review as often as it says.
func (s *scene) review(ctx context.Context, r attempt.Review) ([]Answer, error) {
	body, err := bodyOf(r.Body, r.BodyBase64, r.Fill)
	if err != nil {
		return nil, err
	}
	return repeat(r.Repeat, r.Concurrency, func() (Answer, error) {
		var reader io.Reader = bytes.NewReader(body)
		length := int64(len(body))
		if r.Slow != nil {
			reader = &slowReader{ctx: ctx, rest: body, bytes: max(r.Slow.Bytes, 1), every: time.Duration(r.Slow.Every)}
		}
		status, answer, err := s.world.Post(ctx, &r, reader, length)
		if err != nil {
			// A connection that is closed is no verdict; one that is never answered is a
			// resource that an attacker holds.
			if ctx.Err() != nil {
				return Answer{Result: unanswered, Message: "the connection was held until the attempt gave up"}, nil //nolint:nilerr // It is what came of it.
			}
			return Answer{Result: attempt.Rejected, Message: err.Error()}, nil
		}
		return reviewed(status, answer), nil
	})
}

// slowReader gives a few bytes at a time.
type slowReader struct {
	ctx   context.Context
	rest  []byte
	bytes int
	every time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	timer := time.NewTimer(r.every)
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	case <-timer.C:
	}
	n := copy(p, r.rest[:min(r.bytes, len(r.rest))])
	r.rest = r.rest[n:]
	return n, nil
}

// load starts what goes on during the requests. The function returned ends it.
func (s *scene) load(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, l := range s.attempt.During {
		l, err := attempt.Expanded(l, s.variables())
		if err != nil {
			cancel()
			wg.Wait()
			return nil, err
		}
		for range l.Concurrency {
			wg.Go(func() {
				for ctx.Err() == nil {
					s.burden(ctx, l)
				}
			})
		}
	}
	return func() { cancel(); wg.Wait() }, nil
}

// burden makes one request of a load. What comes of it does not matter.
func (s *scene) burden(ctx context.Context, l attempt.Load) {
	var err error
	if l.Review != nil {
		_, err = s.review(ctx, *l.Review)
	} else {
		r := *l.Request
		if r.As == nil {
			r.As = l.As
		}
		_, err = s.request(ctx, r)
	}
	if err != nil {
		// Whoever cannot connect tries again, but does not spin.
		timer := time.NewTimer(10 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}
