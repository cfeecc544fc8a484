package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"

	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// maxPlaces bounds how many places a record names.
const maxPlaces = 200

// finder looks for secrets in what people wrote.
type finder struct {
	secrets []string
	places  []string
}

func (f *finder) add(path, why, value string) {
	switch value {
	case "", "true", "false", "null", "<nil>":
		return
	}
	f.secrets = append(f.secrets, value)
	if place := path + ": " + why; !slices.Contains(f.places, place) && len(f.places) < maxPlaces {
		f.places = append(f.places, place)
	}
	// A message may show one line of it.
	if lines := strings.Split(value, "\n"); len(lines) > 1 {
		for _, l := range lines {
			if l = strings.TrimSpace(l); len(l) >= 12 && !strings.HasPrefix(l, "-----") {
				f.secrets = append(f.secrets, l)
			}
		}
	}
}

// object looks at a whole object.
func (f *finder) object(path string, o any) {
	m, ok := o.(map[string]any)
	if !ok {
		return
	}
	if m["kind"] == "Secret" {
		f.secret(path, m)
		rest := maps.Clone(m)
		delete(rest, "data")
		delete(rest, "stringData")
		m = rest
	}
	f.tree(path, "", m)
}

// secret takes everything in a Secret.
func (f *finder) secret(path string, m map[string]any) {
	for _, field := range []string{"data", "stringData"} {
		data, _ := m[field].(map[string]any)
		for key, v := range data {
			text, ok := v.(string)
			if !ok {
				continue
			}
			at := fmt.Sprintf("%s.%s[%q]", path, field, key)
			if field == "data" {
				if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
					f.add(at, "the data of a Secret", string(raw))
					f.text(at, "", string(raw))
					continue
				}
			}
			f.add(at, "the data of a Secret", text)
		}
	}
}

// tree looks at values below one that is named.
func (f *finder) tree(path, name string, v any) {
	switch v := v.(type) {
	case string:
		f.text(path, name, v)
	case json.Number:
		if saysSecret(name) {
			f.add(path, byName, v.String())
		}
	case []any:
		for i, x := range v {
			at := fmt.Sprintf("%s[%d]", path, i)
			f.tree(at, name, x)
			// --password hunter2, as two arguments or as one
			flag, ok := x.(string)
			if !ok || !strings.HasPrefix(flag, "-") {
				continue
			}
			if flag, value, one := strings.Cut(flag, "="); one {
				f.text(at, flag, value)
			} else if i+1 < len(v) && saysSecret(flag) {
				f.tree(fmt.Sprintf("%s[%d]", path, i+1), flag, v[i+1])
			}
		}
	case map[string]any:
		if named, ok := v["name"].(string); ok {
			f.tree(path+".value", named, v["value"])
		}
		for key, x := range v {
			under := key
			if _, branch := x.(map[string]any); branch {
				under = ""
			}
			f.tree(path+"."+key, under, x)
		}
	}
}

// text looks at one text.
func (f *finder) text(path, name, s string) {
	if saysSecret(name) && !reference.MatchString(s) {
		f.add(path, byName, s)
	}
	for _, re := range known {
		for _, found := range re.FindAllStringSubmatch(s, -1) {
			if value := found[len(found)-1]; !reference.MatchString(value) {
				f.add(path, "it looks like one", value)
			}
		}
	}
	for _, value := range namedIn(s) {
		f.add(path, byName, value)
	}
	if random(s) {
		f.add(path, "it looks random", s)
	}
	// Such as the annotation in which kubectl keeps what was applied before.
	if t := strings.TrimSpace(s); strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
		if v, err := decode([]byte(t)); err == nil {
			if _, ok := v.(map[string]any); ok {
				f.object(path, v)
			} else {
				f.tree(path, "", v)
			}
		}
	}
}

// random says whether a text looks like random characters: letters of both cases and
// digits, and hardly any of them twice. Digests, UUIDs and words do not.
func random(s string) bool {
	var lower, upper, digit bool
	var count [256]int
	for _, b := range []byte(strings.TrimRight(s, "=")) {
		switch {
		case b >= 'a' && b <= 'z':
			lower = true
		case b >= 'A' && b <= 'Z':
			upper = true
		case b >= '0' && b <= '9':
			digit = true
		case !strings.ContainsRune("+/_-", rune(b)):
			return false
		}
		count[b]++
	}
	n := len(s)
	same := 0
	for _, c := range count {
		same += c * (c - 1)
	}
	return n >= minRandom && lower && upper && digit && same*20 < n*(n-1)
}

// minRandom is how long what looks random is at least.
const minRandom = 20

// declared takes the values that templates mark as sensitive, in a Release or a Rollout.
func (f *finder) declared(path string, raw []byte, revisions []v1alpha1.TemplateRevision) {
	var o struct {
		Kind string `json:"kind"`
		Spec struct {
			Template struct {
				Name string `json:"name"`
			} `json:"template"`
			Values json.RawMessage `json:"values"`
		} `json:"spec"`
	}
	if json.Unmarshal(raw, &o) != nil || len(o.Spec.Values) == 0 || (o.Kind != "Release" && o.Kind != "Rollout") {
		return
	}
	for i := range revisions {
		r := &revisions[i]
		if r.Spec.Schema == nil || (o.Kind == "Release" && r.Spec.Template != o.Spec.Template.Name) {
			continue
		}
		for _, v := range secret.Values(r.Spec.Schema.Raw, o.Spec.Values) {
			f.add(path+".spec.values", "its template marks it as sensitive", v)
		}
	}
}

// redact takes the secrets out of a record, with a key that nobody keeps.
func (r *Record) redact(key []byte) error {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(r.Review, &review); err != nil || review.Request == nil {
		return fmt.Errorf("redacting: wanted a review with a request, found: %w", err)
	}
	var f finder
	revisions := revisionsIn(r.Objects)
	people := [][2]any{{"review.request.object", review.Request.Object.Raw}, {"review.request.oldObject", review.Request.OldObject.Raw}}
	for i, raw := range r.Objects {
		if kind := kindOf(raw); kind == "Release" || kind == "Rollout" {
			people = append(people, [2]any{fmt.Sprintf("objects[%d]", i), []byte(raw)})
		}
	}
	if r.Constraints != nil {
		for i, raw := range r.Constraints.Inventory {
			people = append(people, [2]any{fmt.Sprintf("constraints.inventory[%d]", i), []byte(raw)})
		}
	}
	for _, p := range people {
		path, _ := p[0].(string)
		raw, _ := p[1].([]byte)
		if len(raw) == 0 {
			continue
		}
		o, err := decode(raw)
		if err != nil {
			return fmt.Errorf("redacting %s: %w", path, err)
		}
		f.object(path, o)
		f.declared(path, raw, revisions)
	}
	slices.Sort(f.secrets)
	m, err := newMask(key, slices.Compact(f.secrets))
	if err != nil {
		return fmt.Errorf("redacting: %w", err)
	}
	for i := range f.places {
		f.places[i] = m.text(f.places[i])
	}
	slices.Sort(f.places)
	r.Redacted = f.places
	return r.each(m)
}

// lawsOf are the policies of a record, in one text.
func (r *Record) lawsOf() (string, error) {
	laws := struct {
		Policies    []Policy
		Constraints []json.RawMessage
		Templates   []json.RawMessage
		Inventory   []json.RawMessage
	}{Policies: r.Policies}
	if c := r.Constraints; c != nil {
		laws.Constraints, laws.Templates, laws.Inventory = c.Constraints, c.Templates, c.Inventory
	}
	raw, err := json.Marshal(laws)
	if err != nil {
		return "", fmt.Errorf("redacting: %w", err)
	}
	v, err := decode(raw)
	if err == nil {
		raw, err = encode(v)
	}
	return string(raw), err
}

// each replaces the secrets in every part of a record; its own fields stay.
func (r *Record) each(m *mask) error {
	parts := []*json.RawMessage{&r.Review}
	lists := [][]json.RawMessage{r.Objects}
	if c := r.Constraints; c != nil {
		lists = append(lists, c.Templates, c.Constraints, c.Inventory)
	}
	for _, list := range lists {
		for i := range list {
			parts = append(parts, &list[i])
		}
	}
	for _, p := range parts {
		v, err := decode(*p)
		if err != nil {
			return fmt.Errorf("redacting: %w", err)
		}
		if *p, err = encode(m.tree(v)); err != nil {
			return fmt.Errorf("redacting: %w", err)
		}
	}
	for i := range r.Policies {
		if err := through(&r.Policies[i].DeployPolicy, m); err != nil {
			return err
		}
	}
	for i := range r.Answers {
		a := &r.Answers[i]
		v, err := decode([]byte(a.Of))
		if err != nil {
			return fmt.Errorf("redacting: %w", err)
		}
		of, err := encode(m.tree(v))
		if err != nil {
			return fmt.Errorf("redacting: %w", err)
		}
		a.Of, a.Refused, a.Error = string(of), m.text(a.Refused), m.text(a.Error)
	}
	for i := range r.Unread {
		u := &r.Unread[i]
		u.Namespace, u.Name, u.Error = m.text(u.Namespace), m.text(u.Name), m.text(u.Error)
	}
	r.Verdict = r.Verdict.masked(m)
	return nil
}

func (v Verdict) masked(m *mask) Verdict {
	v.Message = m.answer(v.Message)
	warnings := make([]string, 0, len(v.Warnings))
	for _, w := range v.Warnings {
		warnings = append(warnings, m.text(w))
	}
	v.Warnings = warnings
	audit := make(map[string]string, len(v.Audit))
	for k, a := range v.Audit {
		audit[k] = m.text(a)
	}
	v.Audit = audit
	return v
}

// through replaces the secrets in a value that is written as JSON.
func through[T any](p **T, m *mask) error {
	raw, err := json.Marshal(*p)
	if err != nil {
		return fmt.Errorf("redacting: %w", err)
	}
	v, err := decode(raw)
	if err != nil {
		return fmt.Errorf("redacting: %w", err)
	}
	if raw, err = encode(m.tree(v)); err != nil {
		return fmt.Errorf("redacting: %w", err)
	}
	out := new(T)
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("redacting: %w", err)
	}
	*p = out
	return nil
}

func revisionsIn(objects []json.RawMessage) []v1alpha1.TemplateRevision {
	var out []v1alpha1.TemplateRevision
	for _, raw := range objects {
		var r v1alpha1.TemplateRevision
		if kindOf(raw) == "TemplateRevision" && json.Unmarshal(raw, &r) == nil {
			out = append(out, r)
		}
	}
	return out
}

func kindOf(raw []byte) string {
	var o struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return ""
	}
	return o.Kind
}

// decode keeps numbers as they are written.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
