package v1alpha1

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// revisionDigits is how many hex digits of the digest stand in the name of a
// TemplateRevision: 40 bits, so that one name is of one source wherever it is read.
const revisionDigits = 10

// revisionForm is a name of a TemplateRevision: its template, its number, its digest.
var revisionForm = regexp.MustCompile(`^(.+)-([1-9][0-9]*)-[0-9a-f]{` + strconv.Itoa(revisionDigits) + `}$`)

// RevisionName is the name of the TemplateRevision of a number and a digest
// ("sha256:" and at least ten hex digits), such as web-3-5f0c1b2a9d. The same number of
// another source has another name: a name never changes its meaning, not even where a
// template was deleted and made anew. The API server refuses any other name.
func RevisionName(template string, number int64, digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return fmt.Sprintf("%s-%d-%s", template, number, hex[:min(revisionDigits, len(hex))])
}

// ParseRevisionName returns the template and the number in a name that RevisionName made;
// false for any other.
func ParseRevisionName(name string) (template string, number int64, ok bool) {
	m := revisionForm.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false
	}
	number, err := strconv.ParseInt(m[2], 10, 64)
	return m[1], number, err == nil
}
