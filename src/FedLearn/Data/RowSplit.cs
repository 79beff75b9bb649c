using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using CsvHelper;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>Which rows are held out for testing.</summary>
public static class RowSplit
{
    /// <summary>Applies a rule to rows.</summary>
    /// <param name="rule">The rule.</param>
    /// <param name="splitFile">The file of <see cref="SplitRule.FromFile"/>: a CSV file with the columns id and split, whose values are train or test,
    /// and with commas between cells, or with semicolons, tabs or vertical bars where its first line has these and no comma.
    /// Other rules ignore it.</param>
    /// <param name="ids">Ids of the table, normalised.</param>
    /// <param name="rows">Rows to decide on, each from 0 to the number of ids less 1: usually the common ones.</param>
    /// <param name="idColumns">Columns that make the id of the table, of which the split file has those of the same names; null, or one: it has the column
    /// id.</param>
    /// <returns>True for a test row, in the order of <paramref name="rows"/>.</returns>
    /// <exception cref="ConfigurationException">The rule is not legal, or its file is not named (FL2208).</exception>
    /// <exception cref="BadInputException">The file cannot be used (FL3000 to FL3009, FL3020), or lacks one of the ids (FL3019).</exception>
    public static bool[] TestRows(SplitRule rule, string? splitFile, IReadOnlyList<string> ids, IReadOnlyList<int> rows, IReadOnlyList<string>? idColumns = null)
    {
        ArgumentNullException.ThrowIfNull(rule);
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(rows);
        var test = new bool[rows.Count];
        switch (rule)
        {
            case SplitRule.FromFile:
                ByFile(splitFile, ids, rows, test, idColumns is { Count: > 1 } ? idColumns : ["id"]);
                break;
            case SplitRule.ByHash hash:
                ByHash(hash, ids, rows, test);
                break;
        }

        return test;
    }

    /// <summary>A short fingerprint that the parties compare: the first 6 bytes, big-endian, of SHA-256 over one byte a row, 1 for test.</summary>
    /// <param name="test">Decisions in the common order.</param>
    /// <returns>From 0 to 2^48 - 1, exact in float64.</returns>
    public static ulong Fingerprint48(bool[] test)
    {
        ArgumentNullException.ThrowIfNull(test);
        byte[] digest = SHA256.HashData(Array.ConvertAll(test, value => value ? (byte)1 : (byte)0));
        return BinaryPrimitives.ReadUInt64BigEndian(digest) >> 16;
    }

    private static void ByHash(SplitRule.ByHash rule, IReadOnlyList<string> ids, IReadOnlyList<int> rows, bool[] test)
    {
        if (rule.Modulus < 2)
            throw Illegal("the modulus is below 2.");
        if (rule.Test.Any(residue => residue < 0 || residue >= rule.Modulus))
            throw Illegal("a residue is not from 0 to the modulus less 1.");
        var listed = rule.Test.ToHashSet();
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        for (int i = 0; i < test.Length; i++)
        {
            SHA256.HashData(ids is PackedIds packed ? packed.Utf8(rows[i]) : Encoding.UTF8.GetBytes(RowIds.Normalize(ids[rows[i]])), digest);
            test[i] = listed.Contains(Residue(digest, rule.Modulus));
        }
    }

    /// <summary>The whole big-endian number modulo m, byte by byte: (256 a + b) mod m.</summary>
    internal static int Residue(ReadOnlySpan<byte> number, int modulus)
    {
        ulong residue = 0;
        foreach (byte digit in number)
            residue = (residue << 8 | digit) % (ulong)modulus;
        return (int)residue;
    }

    private static void ByFile(string? path, IReadOnlyList<string> ids, IReadOnlyList<int> rows, bool[] test, IReadOnlyList<string> idColumns)
    {
        if (path is null)
            throw Illegal("the rule is a file, and none is named.");
        using CsvReader reader = CsvFile.Open(path, CsvDialect.OfFirstLine(path));
        Dictionary<string, int> header = CsvFile.Header(reader, path, null);
        int[] idIndices = [.. idColumns.Select(name => CsvFile.Find(header, name, path, null))];
        int splitIndex = CsvFile.Find(header, "split", path, null);
        var split = new Dictionary<string, bool>(StringComparer.Ordinal);
        while (CsvFile.Next(reader, path, null))
        {
            string id = RowIds.Normalize(CsvFile.Id(reader, idIndices, path));
            if (id.Length == 0)
                throw DataErrors.Bad(DataErrors.EmptyId, CsvFile.Place(path, reader, idColumns[0]), "the id is empty.", "Give every row an id, or leave the row out.");
            ReadOnlySpan<byte> word = reader.GetSpan(splitIndex);
            bool isTest = word.SequenceEqual("test"u8);
            if (!isTest && !word.SequenceEqual("train"u8))
                throw DataErrors.Bad(DataErrors.SplitValue, CsvFile.Place(path, reader, "split"), "the cell is neither train nor test.", "Write train or test.");
            if (!split.TryAdd(id, isTest))
                throw DataErrors.Bad(DataErrors.DuplicateId, CsvFile.Place(path, reader, idColumns[0]), "the id is that of an earlier row.", "Keep one row an id.");
        }

        int missing = 0;
        for (int i = 0; i < test.Length; i++)
        {
            if (!split.TryGetValue(RowIds.Normalize(ids[rows[i]]), out test[i]))
                missing++;
        }

        if (missing > 0)
        {
            throw DataErrors.Bad(DataErrors.SplitLacksId, path, $"{missing} of the {test.Length} common ids {Counted.Noun(missing, "is", "are")} not in it.",
                "Add them as train or test; ids of one side only need not be there.");
        }
    }

    private static ConfigurationException Illegal(string cause) => DataErrors.Config(DataErrors.SplitRuleInvalid, "evaluation.split", cause,
        "Name a file, or give mod of at least 2 and residues from 0 to mod less 1.");
}
