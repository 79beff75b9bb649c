using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>What a field of a table is.</summary>
public enum FieldKind
{
    /// <summary>One column of numbers.</summary>
    Numeric = 0,

    /// <summary>One property spread over several columns of 0 and 1.</summary>
    OneHot = 1,

    /// <summary>One column of text; becomes one 0/1 column a listed value.</summary>
    Category = 2,
}

/// <summary>One field of a table.</summary>
/// <param name="Name">Name, unique in the schema. For numeric and category fields also the name of the column.</param>
/// <param name="Kind">What the field is.</param>
/// <param name="Min">Numeric fields: lower end of the public range, finite; null when none is declared.</param>
/// <param name="Max">Numeric fields: upper end of the public range, finite and above <paramref name="Min"/>; null when none is declared.</param>
/// <param name="Columns">One-hot fields: the columns, at least one. Otherwise empty.</param>
/// <param name="Values">Category fields: every value a cell may hold, at least one. Otherwise empty.</param>
public sealed record Field(string Name, FieldKind Kind, double? Min, double? Max, IReadOnlyList<string> Columns, IReadOnlyList<string> Values)
{
    /// <summary>Numeric fields: the constant that stands for a missing value, finite, inside the range where one is declared; null: missing values are
    /// refused. Public knowledge, like the range.</summary>
    public double? MissingNumber { get; init; }

    /// <summary>Category fields: the one of <see cref="Values"/> that stands for a missing value; null: missing values are refused.</summary>
    public string? MissingValue { get; init; }

    /// <summary>Category fields of at least two values: the one of <see cref="Values"/> that has no column, so that its rows have 0 in those of the others; null, the default: every value has one.</summary>
    /// <remarks>A model with an intercept has standard errors only where every category has one; weights then say how the other values differ from it.</remarks>
    public string? BaseValue { get; init; }

    /// <summary>A column of numbers.</summary>
    /// <param name="name">Name of the column.</param>
    /// <param name="min">Lower end of the public range, or null.</param>
    /// <param name="max">Upper end of the public range, or null.</param>
    public static Field Numeric(string name, double? min = null, double? max = null) => new(name, FieldKind.Numeric, min, max, [], []);

    /// <summary>Names of the encoded columns: the name of a numeric field, the columns of a one-hot field, name=value of a category, without its <see cref="BaseValue"/>.</summary>
    public IEnumerable<string> FeatureNames => Kind switch
    {
        FieldKind.Numeric => [Name],
        FieldKind.OneHot => Columns,
        _ => Values.Where(value => value != BaseValue).Select(value => $"{Name}={value}"),
    };
}

/// <summary>What the columns of a table are: types, public ranges, categories.</summary>
/// <remarks>A file is JSON, comments and trailing commas allowed:
/// <c>{ "id": "id", "label": "y", "fields": [ { "name": "age", "type": "numeric", "min": 17, "max": 97 },
/// { "name": "sex", "type": "one-hot", "columns": ["sex__f", "sex__m"] }, { "name": "city", "type": "category", "values": ["x", "y"] } ] }</c>.
/// id and label may be absent; id may be an array of columns, which make the id together. A numeric field may have the key missing with a number, a category with one of its values: that constant then replaces
/// an empty cell and a cell NA, NaN, nan, null or ?, which are refused otherwise. A category may have the key base with the one of its values that becomes no column. A declared range or constant must be public knowledge: one taken from
/// the rows would say something about them.</remarks>
public sealed class TableSchema
{
    private TableSchema(IReadOnlyList<string> idColumns, string? labelColumn, IReadOnlyList<Field> fields)
    {
        (IdColumns, LabelColumn, Fields) = (idColumns, labelColumn, fields);
        FeatureNames = [.. fields.SelectMany(field => field.FeatureNames)];
    }

    /// <summary>Names of the columns that make the id, in order; empty when the schema does not say.</summary>
    public IReadOnlyList<string> IdColumns { get; }

    /// <summary>Name of the label column, or null when the schema does not say.</summary>
    public string? LabelColumn { get; }

    /// <summary>The fields, in the order of the features.</summary>
    public IReadOnlyList<Field> Fields { get; }

    /// <summary>Names of the encoded columns, in order: a numeric field's name, a one-hot field's columns, a category's name=value.</summary>
    public IReadOnlyList<string> FeatureNames { get; }

    /// <summary>Whether every numeric field has a public range.</summary>
    public bool DeclaresAllRanges => Fields.All(item => item.Kind != FieldKind.Numeric || item is { Min: not null, Max: not null });

    /// <summary>Makes a schema.</summary>
    /// <param name="fields">The fields, at least one.</param>
    /// <param name="idColumn">Name of the id column, or null.</param>
    /// <param name="labelColumn">Name of the label column, or null.</param>
    /// <param name="place">Named in errors.</param>
    /// <exception cref="ConfigurationException">A field is not legal (FL2203), or a column is named twice (FL2204).</exception>
    public static TableSchema Create(IReadOnlyList<Field> fields, string? idColumn = null, string? labelColumn = null, string place = "schema") =>
        Create(fields, idColumn is null ? [] : [idColumn], labelColumn, place);

    /// <summary>Makes a schema of a table whose ids are made of several columns.</summary>
    /// <param name="fields">The fields, at least one.</param>
    /// <param name="idColumns">Names of the columns of the id, in order; empty when the schema does not say.</param>
    /// <param name="labelColumn">Name of the label column, or null.</param>
    /// <param name="place">Named in errors.</param>
    /// <exception cref="ConfigurationException">A field is not legal (FL2203), or a column is named twice (FL2204).</exception>
    public static TableSchema Create(IReadOnlyList<Field> fields, IReadOnlyList<string> idColumns, string? labelColumn = null, string place = "schema")
    {
        ArgumentNullException.ThrowIfNull(fields);
        ArgumentNullException.ThrowIfNull(idColumns);
        foreach (Field field in fields)
            ArgumentNullException.ThrowIfNull(field, nameof(fields));
        foreach (string column in idColumns)
            ArgumentNullException.ThrowIfNull(column, nameof(idColumns));
        var schema = new TableSchema([.. idColumns], labelColumn, [.. fields]);
        SchemaReader.Check(schema, place);
        return schema;
    }

    /// <summary>Reads a schema file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ConfigurationException">The file cannot be read (FL2200) or is no legal schema (FL2201 to FL2204).</exception>
    public static TableSchema Load(string path) => Parse(SchemaObject.TextOf(path), path);

    /// <summary>Reads a schema from text.</summary>
    /// <param name="json">The text.</param>
    /// <param name="place">Named in errors, usually the file.</param>
    /// <exception cref="ConfigurationException">The text is no legal schema (FL2201 to FL2204).</exception>
    public static TableSchema Parse(string json, string place)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(place);
        return SchemaReader.Read(json, place);
    }

    /// <summary>SHA-256 of the fields: names, types, ranges, columns, values, what replaces missing ones, and bases, in order; not the names of the id and label
    /// columns.</summary>
    /// <returns>32 bytes, equal for equal fields however the file is laid out.</returns>
    public ReadOnlyMemory<byte> Fingerprint()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))                        // JSON quotes every name, so no two field lists give the same text
        {
            json.WriteStartArray();
            foreach (Field field in Fields)
            {
                json.WriteStartArray();
                json.WriteStringValue(field.Name);
                json.WriteNumberValue((int)field.Kind);
                foreach (double? end in (ReadOnlySpan<double?>)[field.Min, field.Max])
                    json.WriteStringValue(end is { } value ? Text(value) : null);
                foreach (IReadOnlyList<string> list in (ReadOnlySpan<IReadOnlyList<string>>)[field.Columns, field.Values])
                {
                    json.WriteStartArray();
                    foreach (string item in list)
                        json.WriteStringValue(item);
                    json.WriteEndArray();
                }

                if ((field.MissingNumber is { } number ? Text(number) : field.MissingValue) is { } missing)      // left out where there is none, so that schemas without missing values keep the fingerprint that earlier releases gave them
                    json.WriteStringValue(missing);
                if (field.BaseValue is { } baseValue)
                {
                    json.WriteStartArray(); // in an array, to tell it from the text of a missing value
                    json.WriteStringValue(baseValue);
                    json.WriteEndArray();
                }

                json.WriteEndArray();
            }

            json.WriteEndArray();
        }

        static string Text(double value) => (value + 0.0).ToString("R", CultureInfo.InvariantCulture);           // + 0.0: -0 is 0

        return SHA256.HashData(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
    }
}
