using System.Runtime.CompilerServices;
using System.Text.Json;
using FedLearn.Data;
using FedLearn.Diagnostics;
using static System.FormattableString;

namespace FedLearn.Cli.RunFiles;

/// <summary>One object of a run file. Reads typed values, and adds a fault instead of throwing, so that all faults of a file come together.</summary>
/// <remarks>A key whose value is null counts as absent. Every getter returns null for an absent key and for a faulty one.</remarks>
internal sealed class Section
{
    private static readonly JsonElement Empty = JsonDocument.Parse("{}").RootElement;

    private readonly JsonElement _json;
    private readonly Faults _faults;
    private readonly IReadOnlyDictionary<string, string[]> _catalogue;
    private readonly string[] _known;

    private Section(JsonElement json, string path, Faults faults, IReadOnlyDictionary<string, string[]> catalogue)
    {
        (_json, Path, _faults, _catalogue) = (json, path, faults, catalogue);
        _known = catalogue[WithoutIndices(path)];
        var seen = new HashSet<string>();
        foreach (JsonProperty property in json.EnumerateObject())
        {
            if (!seen.Add(property.Name))
                _faults.Add(RunFileErrors.DuplicateKey, At(property.Name), "the key is written twice.", "Keep one of them.");
            else if (!_known.Contains(property.Name))
                _faults.Add(RunFileErrors.UnknownKey, At(property.Name), "there is no such key.", Advice(property.Name));
        }
    }

    /// <summary>Path of this object in its file; empty for the file itself.</summary>
    public string Path { get; }

    /// <summary>Full path of the folder of the file.</summary>
    public string Folder => System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(_faults.File))!;

    /// <summary>Reads a file as one object.</summary>
    /// <param name="faults">Collects its faults, and names the file.</param>
    /// <param name="catalogue">Keys by object.</param>
    /// <param name="settings">Values that stand in for those of the file; null for none.</param>
    /// <exception cref="ConfigurationException">The file cannot be read (FL2001) or is no JSON object (FL2002).</exception>
    public static Section Load(Faults faults, IReadOnlyDictionary<string, string[]> catalogue, IReadOnlyList<RunFileSetting>? settings = null)
    {
        try
        {
            JsonElement root = JsonFile.Read(faults.File);
            if (!JsonTexts.AreWhole(root))
                throw new ConfigurationException(RunFileErrors.Malformed, faults.File, "a text or key is no UTF-8, or has half a surrogate pair.", "Save the file as UTF-8; write both escapes of a pair.");
            if (root.ValueKind == JsonValueKind.Object)
                return new Section((settings ?? []).Aggregate(root, (file, setting) => setting.In(file)), "", faults, catalogue);
            throw new ConfigurationException(RunFileErrors.Malformed, faults.File, "the file is JSON, but not an object.", "Begin it with { and end it with }.");
        }
        catch (JsonException e)
        {
            string place = $"{faults.File}, line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}";
            throw new ConfigurationException(RunFileErrors.Malformed, place, "the text is not JSON from here on.",
                "Look for a missing comma, quote or bracket; NaN and Infinity are no JSON numbers.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            string cause = e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file." : "the file cannot be read.";
            throw new ConfigurationException(RunFileErrors.Unreadable, faults.File, cause, "Check the path and its permissions.", e);
        }
    }

    /// <summary>Path of a key of this object.</summary>
    /// <param name="key">Key.</param>
    public string At(string key) => Path.Length > 0 ? $"{Path}.{key}" : key;

    /// <summary>Whether a key is there and not null.</summary>
    /// <param name="key">Key.</param>
    public bool Has(string key) => TryGet(key, out _);

    /// <summary>Adds a fault about a key.</summary>
    /// <param name="id">Id.</param>
    /// <param name="key">Key.</param>
    /// <param name="cause">What is wrong, as a sentence.</param>
    /// <param name="remedy">What to do, as a sentence.</param>
    public void Fault(string id, string key, string cause, string remedy) => _faults.Add(id, At(key), cause, remedy);

    /// <summary>Adds a fault when a key is absent.</summary>
    /// <param name="key">Key.</param>
    /// <param name="remedy">What to write, as a sentence.</param>
    /// <returns>Whether the key is there.</returns>
    public bool Require(string key, string remedy)
    {
        bool there = Has(key);
        if (!there)
            Fault(RunFileErrors.MissingKey, key, "the key is missing.", remedy);
        return there;
    }

    /// <summary>An object; an absent or faulty one is an empty one, so that reading goes on.</summary>
    /// <param name="key">Key.</param>
    public Section Object(string key) => new(Get(key, JsonValueKind.Object, "an object { }") ?? Empty, At(key), _faults, _catalogue);

    /// <summary>An array of objects; elements of another type are faults and left out.</summary>
    /// <param name="key">Key.</param>
    public IReadOnlyList<Section> Objects(string key)
    {
        var sections = new List<Section>();
        if (Get(key, JsonValueKind.Array, "an array [ ] of objects") is not { } array)
            return sections;
        int index = 0;
        foreach (JsonElement element in array.EnumerateArray())
        {
            string name = $"{key}[{index++}]";
            if (element.ValueKind == JsonValueKind.Object)
                sections.Add(new Section(element, At(name), _faults, _catalogue));
            else
                Fault(RunFileErrors.WrongType, name, $"is {Named(element)}.", "Write an object { } here.");
        }

        return sections;
    }

    /// <summary>Names and texts of an object whose keys are free.</summary>
    /// <param name="key">Key.</param>
    public IReadOnlyList<(string Name, string Value)> TextMap(string key)
    {
        var texts = new List<(string, string)>();
        if (Get(key, JsonValueKind.Object, "an object of texts") is { } json)
            foreach (JsonProperty property in json.EnumerateObject())
            {
                CheckNew(key, property.Name, texts.Select(t => t.Item1));
                if (property.Value.ValueKind == JsonValueKind.String)
                    texts.Add((property.Name, property.Value.GetString()!));
                else
                    Fault(RunFileErrors.WrongType, $"{key}.{property.Name}", $"is {Named(property.Value)}.", "Write a text in quotes here.");
            }

        return texts;
    }

    /// <summary>Names and finite numbers of an object whose keys are free.</summary>
    /// <param name="key">Key.</param>
    public IReadOnlyDictionary<string, double> FiniteMap(string key)
    {
        var numbers = new Dictionary<string, double>();
        if (Get(key, JsonValueKind.Object, "an object of numbers") is { } json)
            foreach (JsonProperty property in json.EnumerateObject())
            {
                if (property.Value.ValueKind != JsonValueKind.Number)
                    Fault(RunFileErrors.WrongType, $"{key}.{property.Name}", $"is {Named(property.Value)}.", "Write a finite number, without quotes.");
                else if (!double.IsFinite(property.Value.GetDouble()))
                    Fault(RunFileErrors.OutOfRange, $"{key}.{property.Name}", $"is {Shortened(property.Value.GetRawText())}.", "Write a finite number.");
                else if (!numbers.TryAdd(property.Name, property.Value.GetDouble()))
                    Fault(RunFileErrors.DuplicateKey, $"{key}.{property.Name}", "the key is written twice.", "Keep one of them.");
            }

        return numbers;
    }

    /// <summary>Whether a key holds an object.</summary>
    /// <param name="key">Key.</param>
    public bool IsObject(string key) => TryGet(key, out JsonElement json) && json.ValueKind == JsonValueKind.Object;

    /// <summary>Names and numbers of an object whose keys are free.</summary>
    /// <param name="key">Key.</param>
    /// <param name="legal">Which numbers are legal.</param>
    /// <param name="wanted">What to write instead, as the object of a sentence.</param>
    public IReadOnlyList<(string Name, double Value)> NumberMap(string key, Predicate<double> legal, string wanted)
    {
        var numbers = new List<(string, double)>();
        if (Get(key, JsonValueKind.Object, wanted) is { } json)
            foreach (JsonProperty property in json.EnumerateObject())
            {
                CheckNew(key, property.Name, numbers.Select(n => n.Item1));
                if (property.Value.ValueKind == JsonValueKind.Number && property.Value.GetDouble() is var value && double.IsFinite(value) && legal(value))
                    numbers.Add((property.Name, value));
                else
                    Fault(RunFileErrors.OutOfRange, $"{key}.{property.Name}", $"is {Named(property.Value)}.", $"Write {wanted}.");
            }

        return numbers;
    }

    /// <summary>Whether a key holds an array.</summary>
    /// <param name="key">Key.</param>
    public bool IsArray(string key) => TryGet(key, out JsonElement json) && json.ValueKind == JsonValueKind.Array;

    /// <summary>An array of texts.</summary>
    /// <param name="key">Key.</param>
    public IReadOnlyList<string> TextList(string key)
    {
        if (Get(key, JsonValueKind.Array, "an array of texts") is not { } array)
            return [];
        JsonElement[] elements = [.. array.EnumerateArray()];
        if (Array.Find(elements, e => e.ValueKind != JsonValueKind.String) is { ValueKind: not JsonValueKind.Undefined } other)
            Fault(RunFileErrors.WrongType, key, $"holds {Named(other)}.", "Write texts in quotes, such as [\"a\", \"b\"].");
        return [.. elements.Where(e => e.ValueKind == JsonValueKind.String).Select(e => e.GetString()!)];
    }

    /// <summary>Names of an object whose keys are free, and a text or an array of texts of each.</summary>
    /// <param name="key">Key.</param>
    public IReadOnlyList<(string Name, IReadOnlyList<string> Values)> TextListMap(string key)
    {
        var lists = new List<(string, IReadOnlyList<string>)>();
        if (Get(key, JsonValueKind.Object, "an object of texts, or of arrays of texts") is { } json)
            foreach (JsonProperty property in json.EnumerateObject())
            {
                JsonElement[] elements = property.Value.ValueKind == JsonValueKind.Array ? [.. property.Value.EnumerateArray()] : [property.Value];
                CheckNew(key, property.Name, lists.Select(l => l.Item1));
                foreach (JsonElement other in elements.Where(e => e.ValueKind != JsonValueKind.String))
                    Fault(RunFileErrors.WrongType, $"{key}.{property.Name}", $"{(property.Value.ValueKind == JsonValueKind.Array ? "holds" : "is")} {Named(other)}.", "Write a text in quotes, or an array of them.");
                lists.Add((property.Name, [.. elements.Where(e => e.ValueKind == JsonValueKind.String).Select(e => e.GetString()!)]));
            }

        return lists;
    }

    /// <summary>A text that is not empty.</summary>
    /// <param name="key">Key.</param>
    public string? Text(string key)
    {
        if (Get(key, JsonValueKind.String, "a text in quotes") is not { } json)
            return null;
        if (json.GetString() is { } text && !string.IsNullOrWhiteSpace(text))
            return text;
        Fault(RunFileErrors.OutOfRange, key, "the text is empty.", "Write something between the quotes, or leave the key out.");
        return null;
    }

    /// <summary>One character of some.</summary>
    /// <param name="key">Key.</param>
    /// <param name="legal">The characters.</param>
    /// <param name="absent">What an absent or faulty key stands for.</param>
    /// <param name="wanted">The characters in words.</param>
    public char Mark(string key, string legal, char absent, string wanted)
    {
        if (Get(key, JsonValueKind.String, wanted) is not { } json)
            return absent;
        if (json.GetString() is [char mark] && legal.Contains(mark, StringComparison.Ordinal))
            return mark;
        Fault(RunFileErrors.UnknownWord, key, $"is {Named(json)}.", $"Write {wanted}.");
        return absent;
    }

    /// <summary>A path; a relative one starts at the folder of the run file.</summary>
    /// <param name="key">Key.</param>
    public string? FilePath(string key)
    {
        if (Text(key) is not { } text)
            return null;
        if (!text.Contains('\0', StringComparison.Ordinal))
            return System.IO.Path.GetFullPath(text, Folder);
        Fault(RunFileErrors.OutOfRange, key, "the text is no path: it holds the character U+0000.", "Remove it.");
        return null;
    }

    /// <summary>True or false.</summary>
    /// <param name="key">Key.</param>
    /// <param name="remedy">What to write instead of anything else; null: true or false.</param>
    public bool? Flag(string key, string? remedy = null)
    {
        if (!TryGet(key, out JsonElement json))
            return null;
        if (json.ValueKind is JsonValueKind.True or JsonValueKind.False)
            return json.GetBoolean();
        Fault(RunFileErrors.WrongType, key, $"is {Named(json)}.", remedy ?? $"Write true or false{Unquoted(key)}.");
        return null;
    }

    /// <summary>A finite number above zero.</summary>
    /// <param name="key">Key.</param>
    /// <param name="most">Largest legal value.</param>
    public double? Positive(string key, double most = double.MaxValue) =>
        Number(key, value => value > 0 && value <= most, most == double.MaxValue ? "a finite number above 0" : Invariant($"a number above 0 and at most {most:R}"));

    /// <summary>A finite number of at least zero.</summary>
    /// <param name="key">Key.</param>
    public double? NotNegative(string key) => Number(key, value => value >= 0, "a finite number of at least 0");

    /// <summary>Any finite number.</summary>
    /// <param name="key">Key.</param>
    public double? Finite(string key) => Number(key, _ => true, "a finite number");

    /// <summary>A whole number in a range.</summary>
    /// <param name="key">Key.</param>
    /// <param name="least">Smallest legal value.</param>
    /// <param name="most">Largest legal value.</param>
    public int? Count(string key, int least, int most)
    {
        string range = most == int.MaxValue ? Invariant($"a whole number of at least {least}") : Invariant($"a whole number from {least} to {most}");
        return (int?)Number(key, value => value == Math.Floor(value) && value >= least && value <= most, range);
    }

    /// <summary>A whole number of 64 bits.</summary>
    /// <param name="key">Key.</param>
    /// <param name="least">Smallest legal value.</param>
    public long? Int64(string key, long least = long.MinValue)
    {
        if (Get(key, JsonValueKind.Number, "a whole number") is not { } json)
            return null;
        if (json.TryGetInt64(out long value) && value >= least)
            return value;
        Fault(RunFileErrors.OutOfRange, key, $"is {Shortened(json.GetRawText())}.",
            least == long.MinValue ? "Write a whole number of 64 bits, between -2^63 and 2^63 - 1." : Invariant($"Write a whole number of 64 bits, at least {least}."));
        return null;
    }

    /// <summary>Two finite numbers, the first below the second.</summary>
    /// <param name="key">Key.</param>
    public (double Low, double High)? Range(string key)
    {
        if (!TryGet(key, out JsonElement json))
            return null;
        if (json.ValueKind == JsonValueKind.Array && json.GetArrayLength() == 2 && json[0].ValueKind == JsonValueKind.Number && json[1].ValueKind == JsonValueKind.Number)
        {
            double low = json[0].GetDouble(), high = json[1].GetDouble();
            if (double.IsFinite(low) && double.IsFinite(high) && low < high)
                return (low, high);
            Fault(RunFileErrors.OutOfRange, key, "the range is empty or not finite.", "Write [low, high] with finite low below high.");
        }
        else
        {
            Fault(RunFileErrors.WrongType, key, $"is {Named(json)}, not a pair of numbers.", "Write [low, high] with finite low below high.");
        }

        return null;
    }

    /// <summary>An array of whole numbers in a range, each once, at least one.</summary>
    /// <param name="key">Key.</param>
    /// <param name="least">Smallest legal value.</param>
    /// <param name="most">Largest legal value.</param>
    public IReadOnlyList<int>? Counts(string key, int least, int most)
    {
        if (Get(key, JsonValueKind.Array, "an array of whole numbers") is not { } array)
            return null;
        var values = new List<int>();
        foreach (JsonElement element in array.EnumerateArray())
            if (element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int value) && value >= least && value <= most && !values.Contains(value))
                values.Add(value);
        if (values.Count == array.GetArrayLength() && values.Count > 0)
            return values;
        Fault(RunFileErrors.OutOfRange, key, "an element is repeated, no whole number or out of range, or there is none.",
            Invariant($"Write whole numbers from {least} to {most}, each once."));
        return null;
    }

    /// <summary>An array of finite numbers, at least one.</summary>
    /// <param name="key">Key.</param>
    /// <param name="legal">Which are legal.</param>
    /// <param name="wanted">What to write instead, as the object of a sentence.</param>
    public IReadOnlyList<double>? Numbers(string key, Predicate<double> legal, string wanted)
    {
        if (Get(key, JsonValueKind.Array, wanted) is not { } array)
            return null;
        double[] values = [.. array.EnumerateArray().Where(e => e.ValueKind == JsonValueKind.Number).Select(e => e.GetDouble()).Where(v => double.IsFinite(v) && legal(v))];
        if (values.Length == array.GetArrayLength() && values.Length > 0)
            return values;
        Fault(RunFileErrors.OutOfRange, key, "an element is no legal number, or there is none.", $"Write {wanted}.");
        return null;
    }

    /// <summary>One of some words.</summary>
    /// <typeparam name="T">What they stand for.</typeparam>
    /// <param name="key">Key.</param>
    /// <param name="words">The words and their meanings.</param>
    /// <param name="absent">What an absent or faulty key stands for.</param>
    /// <param name="later">Words that a later release will know.</param>
    [MethodImpl(MethodImplOptions.NoOptimization)] // compiled for each kind of word at every start, and run once or twice
    public T Word<T>(string key, (string Word, T Meaning)[] words, T absent, params string[] later)
    {
        // Files are read at every start, so the text of a fault is made only where there is one.
        if (!TryGet(key, out JsonElement json))
            return absent;
        if (json.ValueKind != JsonValueKind.String)
        {
            Get(key, JsonValueKind.String, $"a word{(_faults.Written.ContainsKey(At(key)) ? "" : " in quotes")} ({Listed(words)})");
            return absent;
        }

        string text = json.GetString()!;
        for (int i = 0; i < words.Length; i++)
            if (words[i].Word == text)
                return words[i].Meaning;
        if (later.Contains(text))
            Fault(RunFileErrors.NotYet, key, $"'{text}' comes with a later release.", $"Use one of {Listed(words)}.");
        else
            Fault(RunFileErrors.UnknownWord, key, $"'{Shortened(text)}' is no word this key knows.",
                $"{(RunFileKeys.Meant(text, words.Select(w => w.Word)) is { } meant ? $"Did you mean '{meant}'? " : "")}It knows {Listed(words)}.");
        return absent;
    }

    /// <summary>Whether a key holds this text.</summary>
    /// <param name="key">Key.</param>
    /// <param name="text">Text.</param>
    public bool Is(string key, string text) => TryGet(key, out JsonElement json) && json.ValueKind == JsonValueKind.String && json.GetString() == text;

    /// <summary>Whether an object holds this text under a key; looks, and adds no fault.</summary>
    /// <param name="section">Key of the object.</param>
    /// <param name="key">Key in it.</param>
    /// <param name="text">Text.</param>
    public bool Says(string section, string key, string text) => TryGet(section, out JsonElement json) && json.ValueKind == JsonValueKind.Object
        && json.TryGetProperty(key, out JsonElement inner) && inner.ValueKind == JsonValueKind.String && inner.GetString() == text;

    // For maps, whose keys are free.
    private void CheckNew(string map, string key, IEnumerable<string> before)
    {
        if (before.Contains(key))
            Fault(RunFileErrors.DuplicateKey, $"{map}.{key}", "the key is written twice.", "Keep one of them.");
    }

    private double? Number(string key, Predicate<double> legal, string range)
    {
        if (!TryGet(key, out JsonElement json))
            return null;
        if (json.ValueKind == JsonValueKind.Number)
        {
            // A JSON number beyond float64, such as 1e999, is read as an infinity.
            double value = json.GetDouble();
            if (double.IsFinite(value) && legal(value))
                return value;
            Fault(RunFileErrors.OutOfRange, key, $"is {Shortened(json.GetRawText())}.", $"Write {range}.");
        }
        else
        {
            Fault(RunFileErrors.WrongType, key, $"is {Named(json)}.", $"Write {range}{Unquoted(key)}.");
        }

        return null;
    }

    // Quotes exist in the file only: values of --set and of the environment have none.
    private string Unquoted(string key) => _faults.Written.ContainsKey(At(key)) ? "" : ", without quotes";

    private JsonElement? Get(string key, JsonValueKind kind, string wanted)
    {
        if (!TryGet(key, out JsonElement json))
            return null;
        if (json.ValueKind == kind)
            return json;
        Fault(RunFileErrors.WrongType, key, $"is {Named(json)}.", $"Write {wanted}.");
        return null;
    }

    private bool TryGet(string key, out JsonElement json)
    {
        if (!_known.Contains(key))
            throw new ArgumentException($"The catalogue of keys lacks '{At(key)}'.", nameof(key));
        return _json.TryGetProperty(key, out json) && json.ValueKind != JsonValueKind.Null;
    }

    private string Advice(string key)
    {
        string advice = RunFileKeys.Meant(key, _known) is { } meant ? $"Did you mean '{meant}'?" : $"It may have {string.Join(", ", _known.Where(known => !known.StartsWith('$')))}.";
        KeyValuePair<string, string[]> home = _catalogue.FirstOrDefault(section => section.Value.Contains(key));
        return home.Value is null ? advice : $"{advice} Another section has it: {(home.Key.Length > 0 ? home.Key + "." : "")}{key}.";
    }

    private static string Named(JsonElement json) => json.ValueKind switch
    {
        JsonValueKind.String => $"the text \"{Shortened(json.GetString()!)}\"",
        JsonValueKind.Number => $"the number {Shortened(json.GetRawText())}",
        JsonValueKind.True or JsonValueKind.False => json.GetRawText(),
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        _ => "null",
    };

    private static string Shortened(string text) => text.Length <= 40 ? text : text[..40] + "...";

    private static string Listed<T>((string Word, T Meaning)[] words) => string.Join(" | ", words.Select(w => w.Word));

    // parties[1].data becomes parties[].data. Without a regular expression, whose library would be loaded at every start for this alone.
    private static string WithoutIndices(string path)
    {
        for (int open = path.IndexOf('[', StringComparison.Ordinal); open >= 0; open = path.IndexOf('[', open + 1))
            if (path.IndexOf(']', open) is var close and > 0 && path.AsSpan(open + 1, close - open - 1).IndexOfAnyExceptInRange('0', '9') < 0)
                path = path.Remove(open + 1, close - open - 1);
        return path;
    }
}
