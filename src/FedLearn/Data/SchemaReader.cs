namespace FedLearn.Data;

/// <summary>Reads and checks schemas.</summary>
internal static class SchemaReader
{
    private static readonly string[] SchemaKeys = ["$schema", "id", "label", "fields"];
    private static readonly string[] FieldKeys = ["name", "type", "min", "max", "columns", "values", "missing", "base"];

    private static readonly SchemaForm Form = new("Correct the schema; docs/errors/FL2203.md shows one.");

    internal static TableSchema Read(string json, string place) => SchemaObject.Read(json, Form, place, SchemaKeys, "a schema is an object with the key fields.", root =>
        TableSchema.Create([.. root.Fields(FieldKeys).Select(item => ReadField(item.Name, item.Field))], IdColumns(root), root.Text("label"), place));

    internal static void Check(TableSchema schema, string place)
    {
        if (schema.Fields.Count == 0 && schema.LabelColumn is null)
            throw Form.Invalid(place, "a schema needs at least one field, or a label.");
        foreach (Field field in schema.Fields)
            CheckField(field, place);

        // Names of the file's columns, and the features name=value of categories: both name features, so that no two may be equal.
        var columns = new HashSet<string>(StringComparer.Ordinal);
        foreach (string column in schema.Fields.SelectMany(field => field.Kind == FieldKind.OneHot ? field.Columns : [field.Name])
            .Concat(schema.Fields.Where(field => field.Kind == FieldKind.Category).SelectMany(field => field.FeatureNames)))
        {
            if (!columns.Add(column))
                throw SchemaForm.Duplicate(place, $"the column '{column}' appears in two places.");
            if (schema.IdColumns.Contains(column, StringComparer.Ordinal) || column == schema.LabelColumn)
                throw SchemaForm.Duplicate(place, $"the column '{column}' is the id or the label, and a field too.");
        }

        if (schema.Fields.Select(field => field.Name).GroupBy(name => name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw SchemaForm.Duplicate(place, $"two fields are named '{twice.Key}'.");
        if (schema.LabelColumn is { } label && schema.IdColumns.Contains(label, StringComparer.Ordinal))
            throw SchemaForm.Duplicate(place, $"the column '{label}' is both the id and the label.");
        if (schema.IdColumns.GroupBy(name => name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } again)
            throw SchemaForm.Duplicate(place, $"the id names the column '{again.Key}' twice.");
    }

    private static Field ReadField(string name, SchemaObject item)
    {
        FieldKind kind = item.Text("type") switch
        {
            "numeric" => FieldKind.Numeric,
            "one-hot" => FieldKind.OneHot,
            "category" => FieldKind.Category,
            null => throw item.Invalid("the key type is missing."),
            _ => throw item.Invalid("type must be numeric, one-hot or category."),
        };
        foreach ((string key, FieldKind owner) in (ReadOnlySpan<(string, FieldKind)>)
            [("min", FieldKind.Numeric), ("max", FieldKind.Numeric), ("columns", FieldKind.OneHot), ("values", FieldKind.Category), ("base", FieldKind.Category)])
        {
            if (owner != kind && item.Has(key))
                throw item.Invalid($"the key {key} does not belong to a field of this type.");
        }

        if (kind == FieldKind.OneHot && item.Has("missing"))
            throw item.Invalid("a one-hot field has no constant for missing values: its columns would have to agree on one.");

        return new Field(name, kind, item.Number("min"), item.Number("max"), item.Texts("columns"), item.Texts("values"))
        {
            MissingNumber = kind == FieldKind.Numeric ? item.Number("missing") : null,
            MissingValue = kind == FieldKind.Category ? item.Text("missing") : null,
            BaseValue = item.Text("base"),
        };
    }

    private static void CheckField(Field field, string place)
    {
        if (string.IsNullOrWhiteSpace(field.Name))
            throw Form.Invalid(place, "a field has an empty name.");
        place = $"{place}, field '{field.Name}'";
        if (field.Min is null != field.Max is null)
            throw Form.Invalid(place, "min and max are declared together or not at all.");
        if (field is { Min: { } min, Max: { } max } && !(double.IsFinite(min) && double.IsFinite(max) && min < max))
            throw Form.Invalid(place, "min and max must be finite, and min below max.");
        if (field.Kind != FieldKind.Numeric && field.Min is not null)
            throw Form.Invalid(place, "only a numeric field has a range.");
        if (field.MissingNumber is { } constant && !(field.Kind == FieldKind.Numeric && double.IsFinite(constant)
            && constant >= (field.Min ?? constant) && constant <= (field.Max ?? constant)))
        {
            throw Form.Invalid(place, "missing must be a finite number inside the field's range.");
        }

        if (field.MissingValue is { } value && !field.Values.Contains(value, StringComparer.Ordinal))
            throw Form.Invalid(place, "missing must be one of the field's values.");
        if (field.BaseValue is { } baseValue && !(field.Values.Count > 1 && field.Values.Contains(baseValue, StringComparer.Ordinal)))
            throw Form.Invalid(place, "base must be one of at least two values of a category.");
        if (field.Kind == FieldKind.OneHot != field.Columns.Count > 0)
            throw Form.Invalid(place, "a one-hot field, and no other, lists at least one column.");
        if (field.Kind == FieldKind.Category != field.Values.Count > 0)
            throw Form.Invalid(place, "a category, and no other, lists at least one value.");
        if (field.Columns.Concat(field.Values).Any(string.IsNullOrWhiteSpace))
            throw Form.Invalid(place, "a listed column or value is empty.");
        if (field.Values.GroupBy(value => value, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } repeated)
            throw SchemaForm.Duplicate(place, $"the value '{repeated.Key}' is listed twice.", "List every value once.");
    }

    /// <summary>One column, or an array of those that make the id together.</summary>
    private static string[] IdColumns(SchemaObject root)
    {
        if (!root.IsArray("id"))
            return root.Text("id") is { } one ? [one] : [];
        string[] several = root.Texts("id");
        return several.Length > 0 && !several.Any(string.IsNullOrWhiteSpace) ? several : throw root.Invalid("id must name at least one column, and none of them empty.");
    }
}
