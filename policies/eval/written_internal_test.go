package eval

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheDefinitionHasTheSameForms(t *testing.T) {
	raw, err := os.ReadFile("../../charts/tidegate/resources/crds/tidegate.io_deploypolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []*regexp.Regexp{namespaceForm, templateForm, nameForm, groupForm, kindForm} {
		if !strings.Contains(string(raw), "pattern: "+form.String()+"\n") {
			t.Errorf("wanted the pattern %s in the CustomResourceDefinition", form)
		}
	}
}
