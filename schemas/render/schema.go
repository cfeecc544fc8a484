package render

import (
	"encoding/json"
	"fmt"

	"tidegate.io/tidegate/schemas/render/internal/shape"
)

// schemaDialect is the version of JSON Schema that Schema writes.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// Schema returns the JSON Schema of the values, for editors and forms. Where #Variables
// says what JSON Schema cannot, such as a rule between two values, the schema accepts
// more than Render does; it never accepts less.
func (t *Template) Schema() (out []byte, err error) {
	defer recovered(&err)
	s := shape.Schema(t.variables)
	s["$schema"] = schemaDialect
	if text := shape.Description(t.variables); text != "" {
		s["description"] = text
	}
	out, err = json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return out, nil
}
