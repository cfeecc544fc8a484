package source

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// CRDs reads the CustomResourceDefinitions in a file, or in the YAML and JSON files of a
// directory.
func CRDs(name string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading CRDs: %w", err)
	}
	dir, only := name, ""
	if !info.IsDir() {
		dir, only = filepath.Dir(name), filepath.Base(name)
	}
	r := reader{fsys: os.DirFS(dir), where: dir}
	files := map[string][]byte{}
	if only != "" {
		if files[only], err = r.file(only); err != nil {
			return nil, fmt.Errorf("reading CRDs: %s: %w", name, err)
		}
	} else if files, err = r.folder(".", ".yaml", ".yml", ".json"); err != nil {
		return nil, fmt.Errorf("reading CRDs: %w", err)
	}
	crds, err := parseCRDs(files, dir)
	if err != nil {
		return nil, fmt.Errorf("reading CRDs: %w", err)
	}
	if len(crds) == 0 {
		return nil, fmt.Errorf("reading CRDs: wanted a CustomResourceDefinition in %s, found none: %w", name, fs.ErrNotExist)
	}
	return crds, nil
}

// parseCRDs reads the definitions in files, name to text; documents of other kinds are
// left out, since people keep both in one file.
func parseCRDs(files map[string][]byte, where string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, name := range slices.Sorted(maps.Keys(files)) {
		at := filepath.Join(where, name)
		all, err := documents(files[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		for _, d := range all {
			crd, err := parseCRD(d, at)
			if err != nil {
				return nil, err
			}
			if crd != nil {
				crds = append(crds, crd)
			}
		}
	}
	return crds, nil
}

// parseCRD reads one document of the file called at; nil where it is something else.
func parseCRD(d document, at string) (*apiextensionsv1.CustomResourceDefinition, error) {
	const wanted = "a CustomResourceDefinition as YAML or JSON"
	var kind struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := yaml.Unmarshal(d.text, &kind); err != nil {
		return nil, misread(at, d.line, wanted, err)
	}
	if kind.Kind != "CustomResourceDefinition" {
		return nil, nil
	}
	if kind.APIVersion != apiextensionsv1.SchemeGroupVersion.String() {
		return nil, fmt.Errorf("%s:%d: wanted a CustomResourceDefinition of %s, found one of %s", at, d.line, apiextensionsv1.SchemeGroupVersion, kind.APIVersion)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(d.text, crd); err != nil {
		return nil, misread(at, d.line, wanted, err)
	}
	return crd, nil
}

// Schemas judges objects by the CustomResourceDefinitions of their kinds, the way the API
// server does, rules in CEL aside.
type Schemas struct {
	// kinds are by group/version and kind.
	kinds map[string]*kindSchema
	// groups are those known in some version, by group and kind.
	groups map[string][]string
}

type kindSchema struct {
	validator  validation.SchemaValidator
	structural *structuralschema.Structural
}

// NewSchemas prepares the schemas of the served versions of crds.
func NewSchemas(crds []*apiextensionsv1.CustomResourceDefinition) (*Schemas, error) {
	s := &Schemas{kinds: map[string]*kindSchema{}, groups: map[string][]string{}}
	for _, crd := range crds {
		for _, v := range crd.Spec.Versions {
			if !v.Served {
				continue
			}
			group := crd.Spec.Group + " " + crd.Spec.Names.Kind
			s.groups[group] = append(s.groups[group], v.Name)
			k, err := newKindSchema(v.Schema)
			if err != nil {
				return nil, fmt.Errorf("reading the schema of %s %s: %w", crd.Name, v.Name, err)
			}
			s.kinds[path.Join(crd.Spec.Group, v.Name)+" "+crd.Spec.Names.Kind] = k
		}
	}
	return s, nil
}

func newKindSchema(v1 *apiextensionsv1.CustomResourceValidation) (*kindSchema, error) {
	if v1 == nil || v1.OpenAPIV3Schema == nil {
		return nil, errors.New("wanted an openAPIV3Schema, found none")
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v1.OpenAPIV3Schema, &props, nil); err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(&props)
	if err != nil {
		return nil, err
	}
	return &kindSchema{validator: validator, structural: structural}, nil
}

// Check returns what is wrong with o; nothing where no definition is of its kind.
func (s *Schemas) Check(o *unstructured.Unstructured) []string {
	k, ok := s.kinds[o.GetAPIVersion()+" "+o.GetKind()]
	if !ok {
		group, version, versioned := strings.Cut(o.GetAPIVersion(), "/")
		if served := s.groups[group+" "+o.GetKind()]; versioned && len(served) > 0 {
			return []string{fmt.Sprintf("wanted %s in version %s, as the CRD serves it, found %s", o.GetKind(), strings.Join(served, " or "), version)}
		}
		return nil
	}
	content := runtime.DeepCopyJSON(o.Object)
	var lines []string
	for _, e := range validation.ValidateCustomResource(nil, content, k.validator) {
		lines = append(lines, fmt.Sprintf("wanted what the CRD of %s allows, found %s", o.GetKind(), e.Error()))
	}
	unknown := pruning.PruneWithOptions(content, k.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	slices.Sort(unknown)
	for _, field := range unknown {
		lines = append(lines, fmt.Sprintf("wanted the fields of the CRD of %s, found %s, which the API server would drop", o.GetKind(), field))
	}
	return lines
}
