package webhook

import (
	"bytes"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// sameSpec says whether a write leaves the spec as it is but for the number of replicas, as
// nearly all of Tidegate's own do. It compares bytes, which the API server writes in one
// order: that they differ means nothing, and the objects are decoded to find out. Decoding
// takes ten times as long.
func sameSpec(r admission.Request) bool {
	var old, now specBytes
	return old.read(r.OldObject.Raw) && now.read(r.Object.Raw) && old.equal(&now)
}

// maxSpecFields is how many fields a spec may have for being compared by its bytes; that of
// a workload has a dozen.
const maxSpecFields = 24

// specBytes are the fields of a spec, as they are written.
type specBytes struct {
	fields [maxSpecFields]member
	n      int
}

// read finds the spec of an object.
func (s *specBytes) read(object []byte) bool {
	var spec []byte
	found := 0
	ok := members(object, func(m member) bool {
		if string(m.key) == "spec" {
			found++
			spec = m.value
		}
		return true
	})
	return ok && found == 1 && members(spec, func(m member) bool {
		if s.n == maxSpecFields {
			return false
		}
		if string(m.key) != "replicas" {
			s.fields[s.n] = m
			s.n++
		}
		return true
	})
}

func (s *specBytes) equal(o *specBytes) bool {
	if s.n != o.n {
		return false
	}
	for i := range s.n {
		if !bytes.Equal(s.fields[i].key, o.fields[i].key) || !bytes.Equal(s.fields[i].value, o.fields[i].value) {
			return false
		}
	}
	return true
}

// member is one field of an object, as it is written.
type member struct{ key, value []byte }

// members calls each with the fields of an object in valid JSON, until it says false. It
// returns false then, where there is no object, and where a key is not written plainly.
func members(object []byte, each func(member) bool) bool {
	i := space(object, 0)
	if at(object, i) != '{' {
		return false
	}
	for {
		if i = space(object, i+1); at(object, i) == '}' {
			return true
		}
		m, end := readMember(object, i)
		if end < 0 || !each(m) {
			return false
		}
		if i = space(object, end); at(object, i) != ',' {
			return at(object, i) == '}'
		}
	}
}

// readMember reads the field that begins at an index, and says where it ends; -1 where it is
// not written plainly.
func readMember(object []byte, i int) (member, int) {
	if at(object, i) != '"' {
		return member{}, -1
	}
	end := closing(object, i+1)
	if end < 0 || bytes.IndexByte(object[i:end], '\\') >= 0 {
		return member{}, -1
	}
	key := object[i+1 : end]
	colon := space(object, end+1)
	if at(object, colon) != ':' {
		return member{}, -1
	}
	start := space(object, colon+1)
	if end = skip(object, start); end < 0 {
		return member{}, -1
	}
	return member{key, object[start:end]}, end
}

// at is a byte, 0 behind the end.
func at(text []byte, i int) byte {
	if i < len(text) {
		return text[i]
	}
	return 0
}

// space returns where something stands from an index on.
func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skip returns where the value ends that begins at an index, or -1.
func skip(text []byte, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			if i = closing(text, i+1); i < 0 {
				return -1
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of what a number or a word is in
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}
