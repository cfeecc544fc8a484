package render

import (
	"fmt"
	"regexp"
	"strings"
)

// maxNamespace is the greatest length of a namespace's name.
const maxNamespace = 63

var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// Check says what is wrong with the names in c, nil where nothing is. No values are right
// for such a Release.
func (c Context) Check() error {
	switch {
	case len(c.Name) > maxName || !releaseName.MatchString(c.Name):
		return fmt.Errorf("wanted a name of the Release of at most %d lower case letters, digits and dashes that begins with a letter, found %q; choose another", maxName, c.Name)
	case len(c.Namespace) > maxNamespace || !namespaceName.MatchString(c.Namespace):
		return fmt.Errorf("wanted a namespace of at most %d lower case letters, digits and dashes, found %q; name one that exists", maxNamespace, c.Namespace)
	case c.Template == "":
		return fmt.Errorf("wanted the name of the template of Release %s/%s, found none", c.Namespace, c.Name)
	}
	for _, name := range []string{c.Name, c.Namespace, c.Template} {
		if strings.Contains(name, placeholder) {
			return fmt.Errorf("wanted names without the reserved text %s, found %q; choose another", placeholder, name)
		}
	}
	return nil
}
