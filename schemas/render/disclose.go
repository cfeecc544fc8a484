package render

import (
	"slices"
	"strconv"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// Secrets returns the texts in valuesJSON that variables marked @sensitive() have, each
// once, so that whoever shows what was rendered can leave them out. Values that cannot be
// read have none.
func (t *Template) Secrets(valuesJSON []byte) (out []string, err error) {
	defer recovered(&err)
	tree, mistakes := values.Parse(valuesJSON)
	if len(mistakes) > 0 {
		return nil, nil
	}
	t.conceal(tree)
	collectHidden(tree, &out)
	slices.Sort(out)
	return slices.Compact(out), nil
}

func collectHidden(n *values.Node, out *[]string) {
	if n.Hidden {
		switch n.Kind {
		case values.String, values.Number:
			*out = append(*out, n.Text)
		case values.Bool:
			*out = append(*out, strconv.FormatBool(n.Bool))
		case values.Null, values.List, values.Object:
		}
	}
	for _, item := range n.Items {
		collectHidden(item, out)
	}
	for _, f := range n.Fields {
		if f.Hidden {
			*out = append(*out, f.Name)
		}
		collectHidden(f.Value, out)
	}
}
