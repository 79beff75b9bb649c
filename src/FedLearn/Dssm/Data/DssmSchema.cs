using System.Security.Cryptography;
using System.Text.Json;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>How the cells of a field become inputs of a tower.</summary>
public enum DssmFieldKind
{
    /// <summary>A number.</summary>
    Numeric = 0,

    /// <summary>A number that falls into one of several ranges: a bag with the range's place.</summary>
    Bucketed = 1,

    /// <summary>Ids, with weights or without.</summary>
    Bag = 2,

    /// <summary>Words separated by blanks or |, each hashed.</summary>
    Hashed = 3,

    /// <summary>Text of which the letter n-grams are hashed (Huang et al., CIKM 2013: word hashing).</summary>
    Text = 4,
}

/// <summary>A field of a table of a view or of items; it reads the column of its name.</summary>
/// <param name="Name">Name, unique in the schema.</param>
/// <param name="Kind">How its cells become inputs.</param>
public sealed record DssmField(string Name, DssmFieldKind Kind)
{
    /// <summary>Whether a missing cell is told from others: by a second number, or a bucket of its own. Numeric and bucketed fields.</summary>
    public bool Mask { get; init; }

    /// <summary>Bucketed fields: ends of the ranges, finite and ascending, at least one; a number's bucket is how many of them are at most the number.</summary>
    public IReadOnlyList<double> Edges { get; init; } = [];

    /// <summary>Bag, hashed and text fields: number of ids, at least 1.</summary>
    public int Buckets { get; init; }

    /// <summary>Bag, hashed and text fields: how the embeddings of the ids are put together.</summary>
    public BagPooling Pooling { get; init; }

    /// <summary>Text fields: characters of an n-gram, 1 to 8.</summary>
    /// <value>Default 3.</value>
    public int Ngrams { get; init; } = 3;

    /// <summary>Hashed and text fields: hash functions, 1 to 8.</summary>
    /// <value>Default 1.</value>
    public int Hashes { get; init; } = 1;

    /// <summary>Ids that the bag of this field may have; 0 for a numeric field.</summary>
    internal int Ids => Kind switch
    {
        DssmFieldKind.Numeric => 0,
        DssmFieldKind.Bucketed => Edges.Count + (Mask ? 2 : 1),
        _ => Buckets,
    };

    /// <summary>A number.</summary>
    /// <param name="name">Name.</param>
    /// <param name="mask">Whether a missing cell is told from 0.</param>
    public static DssmField Numeric(string name, bool mask = false) => new(name, DssmFieldKind.Numeric) { Mask = mask };

    /// <summary>A number in ranges.</summary>
    /// <param name="name">Name.</param>
    /// <param name="edges">Ends of the ranges, finite and ascending.</param>
    /// <param name="mask">Whether a missing cell has a bucket of its own.</param>
    public static DssmField Bucketed(string name, IReadOnlyList<double> edges, bool mask = false) => new(name, DssmFieldKind.Bucketed) { Edges = edges, Mask = mask };

    /// <summary>Ids.</summary>
    /// <param name="name">Name.</param>
    /// <param name="buckets">Number of ids.</param>
    /// <param name="pooling">How their embeddings are put together.</param>
    public static DssmField Bag(string name, int buckets, BagPooling pooling = BagPooling.Sum) => new(name, DssmFieldKind.Bag) { Buckets = buckets, Pooling = pooling };

    /// <summary>Hashed words.</summary>
    /// <param name="name">Name.</param>
    /// <param name="buckets">Number of buckets.</param>
    /// <param name="hashes">Number of hash functions.</param>
    public static DssmField Hashed(string name, int buckets, int hashes = 1) => new(name, DssmFieldKind.Hashed) { Buckets = buckets, Hashes = hashes };

    /// <summary>Hashed letter n-grams.</summary>
    /// <param name="name">Name.</param>
    /// <param name="buckets">Number of buckets.</param>
    /// <param name="ngrams">Characters of an n-gram.</param>
    public static DssmField Text(string name, int buckets, int ngrams = 3) => new(name, DssmFieldKind.Text) { Buckets = buckets, Ngrams = ngrams };
}

/// <summary>What the columns of a view's or of the items' table are. The file format is in docs/guide/recommendation-files.md.</summary>
public sealed class DssmSchema
{
    internal DssmSchema(bool isItems, string key, string? time, string? sequence, string? title, bool normalise, IReadOnlyList<DssmField> fields)
    {
        (IsItems, Key, Time, Sequence, Title, Normalise, Fields) = (isItems, key, time, sequence, title, normalise, fields);
    }

    /// <summary>Whether the table is one of items; else one of users.</summary>
    public bool IsItems { get; }

    /// <summary>Column of the ids of users or items.</summary>
    public string Key { get; }

    /// <summary>Column of times; null: the view is static.</summary>
    public string? Time { get; }

    /// <summary>Column of places among events of one second; null: all 0.</summary>
    public string? Sequence { get; }

    /// <summary>Items: column of what a person calls them, which may be a text field too; null: none.</summary>
    public string? Title { get; }

    /// <summary>Whether the entries of a row, those of bags included, are divided by their L2 norm.</summary>
    public bool Normalise { get; }

    /// <summary>The fields.</summary>
    public IReadOnlyList<DssmField> Fields { get; }

    /// <summary>What a tower reads: first the numbers, in the order of the fields, each before its mask, then the bags in theirs.</summary>
    public TowerInputs Inputs => new(
        Fields.Sum(f => f.Kind != DssmFieldKind.Numeric ? 0 : f.Mask ? 2 : 1),
        [.. Fields.Where(f => f.Kind != DssmFieldKind.Numeric).Select(f => new BagField(f.Name, f.Ids, f.Pooling))]);

    /// <summary>Makes a schema of a view.</summary>
    /// <param name="fields">The fields, at least one.</param>
    /// <param name="timed">Whether rows have moments, in the columns time and sequence.</param>
    /// <param name="normalise">Whether rows are divided by their L2 norm.</param>
    /// <exception cref="ConfigurationException">A field is not legal (FL2203), or a column is named twice (FL2204).</exception>
    public static DssmSchema OfView(IReadOnlyList<DssmField> fields, bool timed = false, bool normalise = false)
    {
        ArgumentNullException.ThrowIfNull(fields);
        return DssmSchemaReader.Checked(new DssmSchema(false, "user", timed ? "time" : null, timed ? "sequence" : null, null, normalise, [.. fields]), "schema");
    }

    /// <summary>Makes a schema of items.</summary>
    /// <param name="fields">The fields, at least one.</param>
    /// <param name="titled">Whether there is a column title.</param>
    /// <param name="normalise">Whether rows are divided by their L2 norm.</param>
    /// <exception cref="ConfigurationException">A field is not legal (FL2203), or a column is named twice (FL2204).</exception>
    public static DssmSchema OfItems(IReadOnlyList<DssmField> fields, bool titled = false, bool normalise = false)
    {
        ArgumentNullException.ThrowIfNull(fields);
        return DssmSchemaReader.Checked(new DssmSchema(true, "item", null, null, titled ? "title" : null, normalise, [.. fields]), "schema");
    }

    /// <summary>Reads a schema file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ConfigurationException">The file cannot be read (FL2200) or is no legal schema (FL2201 to FL2204).</exception>
    public static DssmSchema Load(string path) => Parse(SchemaObject.TextOf(path), path);

    /// <summary>Reads a schema from text.</summary>
    /// <param name="json">The text.</param>
    /// <param name="place">Named in errors, usually the file.</param>
    /// <exception cref="ConfigurationException">The text is no legal schema (FL2201 to FL2204).</exception>
    public static DssmSchema Parse(string json, string place)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(place);
        return DssmSchemaReader.Read(json, place);
    }

    /// <summary>The schema as the text of a file, without comments.</summary>
    public string ToJson() => DssmSchemaReader.Write(this);

    /// <summary>SHA-256 of what a tower is made for: names, types and shapes of the fields in order, and the normalisation; not the names of other columns.</summary>
    /// <returns>32 bytes, equal for equal fields however the file is laid out.</returns>
    public ReadOnlyMemory<byte> Fingerprint()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))                        // JSON quotes every name, so no two field lists give the same text
        {
            json.WriteStartArray();
            json.WriteBooleanValue(IsItems);
            json.WriteBooleanValue(Normalise);
            foreach (DssmField field in Fields)
            {
                json.WriteStartArray();
                json.WriteStringValue(field.Name);
                foreach (int number in (ReadOnlySpan<int>)[(int)field.Kind, field.Mask ? 1 : 0, field.Ids, (int)field.Pooling, field.Ngrams, field.Hashes])
                    json.WriteNumberValue(number);
                foreach (double edge in field.Edges)
                    json.WriteNumberValue(edge + 0.0);                       // + 0.0: -0 is 0
                json.WriteEndArray();
            }

            json.WriteEndArray();
        }

        return SHA256.HashData(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
    }
}
