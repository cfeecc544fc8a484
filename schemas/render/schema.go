package render

import (
	"encoding/json"
	"fmt"

	"tidegate.io/tidegate/schemas/render/internal/shape"
)

// schemaDialect is the version of JSON Schema that Schema writes.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// Schema returns the JSON Schema of the values, for editors and forms. Where #Variables
// says what JSON Schema cannot, such as a rule between two values, the schema accepts more
// than Render does and has the keyword x-rules there, a list of the rules in words or in
// CUE; it never accepts less.
//
// Besides the standard keywords it has, from the attributes of the variables:
//
//	@ui(title="Image", order=1, group="Basics", advanced, widget="textarea")
//	                     title, x-order, x-group, x-advanced, x-widget
//	@wanted("...")       x-wanted
//	@immutable()         x-immutable
//	@sensitive()         writeOnly, x-sensitive
//
// Every field has an x-order, by its place in the source where @ui gives none, and every
// object has propertyOrder, the names of its fields in that order.
func (t *Template) Schema() (out []byte, err error) {
	defer recovered(&err)
	s := shape.Schema(t.variables)
	s["$schema"] = schemaDialect
	out, err = json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return out, nil
}
