using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text;
using CsvHelper;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>An item index as two files: NAME.npy holds the normalised vectors, float32 [N x k]; NAME.ids.csv has a line an item in the same order, with the columns
/// <c>id</c>, <c>model</c> (version of the model) and, where the model has biases, <c>bias</c> (in units of the cosine).</summary>
public static class ItemIndexFiles
{
    private const string Id = "id", Model = "model", BiasColumn = "bias";

    /// <summary>Writes both files, replacing what is there. What is cut off on the way leaves no index.</summary>
    /// <param name="index">The index.</param>
    /// <param name="name">Path without the endings.</param>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public static void Save(ItemIndex index, string name)
    {
        ArgumentNullException.ThrowIfNull(index);
        ArgumentException.ThrowIfNullOrEmpty(name);
        // Vectors beside the ids of an earlier index would be taken for those of its model.
        File.Delete(name + ".ids.csv");
        using (FileStream npy = File.Create(name + ".npy"))
        {
            npy.Write(NpyHeader(index.Ids.Count, index.Width));
            npy.Write(MemoryMarshal.AsBytes(index.Vectors));
        }

        using CsvWriter csv = CsvWriter.ToFile(name + ".ids.csv", new CsvWriterOptions());
        foreach (string column in (ReadOnlySpan<string>)(index.HasBias ? [Id, Model, BiasColumn] : [Id, Model]))
            csv.WriteField(column);
        csv.EndRecord();
        for (int i = 0; i < index.Ids.Count; i++)
        {
            csv.WriteField(index.Ids[i]);
            csv.WriteField(index.ModelVersion);
            if (index.HasBias)
                csv.WriteField(index.Bias[i].ToString("R", CultureInfo.InvariantCulture));
            csv.EndRecord();
        }
    }

    /// <summary>Reads both files.</summary>
    /// <param name="name">Path without the endings.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="ConfigurationException">The lines name several versions of a model (FL2435).</exception>
    /// <exception cref="BadInputException">A file cannot be read or is damaged (FL30nn), the files do not fit together (FL3125), or an id is there twice (FL3126).</exception>
    public static ItemIndex Load(string name, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        (int rows, int width, double[] values) = NpyFile.Read(name + ".npy", 2, cancellationToken);
        string path = name + ".ids.csv";
        List<string> ids = [];
        List<float> bias = [];
        string? version = null;
        using (CsvReader csv = CsvFile.Open(path))
        {
            Dictionary<string, int> header = CsvFile.Header(csv, path, null);
            int id = CsvFile.Find(header, Id, path, null), model = CsvFile.Find(header, Model, path, null), column = header.GetValueOrDefault(BiasColumn, -1);
            var seen = new HashSet<string>(StringComparer.Ordinal);
            while (CsvFile.Next(csv, path, null))
            {
                string item = CsvFile.Text(csv, id, path), own = CsvFile.Text(csv, model, path);
                if (!seen.Add(item))
                    throw Bad(DssmServingErrors.DuplicateItem, CsvFile.Place(path, csv, Id), "an earlier line has the same id.", "Write every item once.");
                if (own.Length == 0)
                    throw CsvFile.Empty(CsvFile.Place(path, csv, Model), isFeature: false);
                if ((version ??= own) != own)
                    throw new ConfigurationException(DssmServingErrors.MixedModelVersions, CsvFile.Place(path, csv, Model), "the lines name several versions of a model.",
                        "Export the items anew, all with the same trained model.");
                ids.Add(item);
                if (column < 0)
                    continue;
                bias.Add((float)CsvFile.Number(csv, column, BiasColumn, path));
                if (!float.IsFinite(bias[^1]))
                    throw Bad(DataErrors.NotFinite, CsvFile.Place(path, csv, BiasColumn), "the number is beyond float32.", "Export the items anew.");
            }
        }

        if (ids.Count != rows || version is null || width == 0)
            throw Bad(DssmServingErrors.IndexFilesDiffer, path, $"there are {ids.Count} ids for {rows} vectors of width {width}.", "Export the items anew.");
        float[] vectors = new float[values.Length];
        TensorPrimitives.ConvertTruncating<double, float>(values, vectors);
        if (!TensorPrimitives.IsFiniteAll<float>(vectors))
            throw Bad(DataErrors.NotFinite, name + ".npy", "a number is NaN, infinite or beyond float32.", "Export the items anew.");
        return new ItemIndex(ids, vectors, width, version, bias.Count == 0 ? null : [.. bias]);
    }

    /// <summary>NumPy format version 1.0: magic, length, a dictionary padded with spaces so that the values begin at a multiple of 64.</summary>
    private static byte[] NpyHeader(int rows, int width)
    {
        string text = string.Create(CultureInfo.InvariantCulture, $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
        int length = ((10 + text.Length + 1 + 63) / 64 * 64) - 10;
        return [0x93, .. "NUMPY"u8, 1, 0, (byte)(length & 0xFF), (byte)(length >> 8), .. Encoding.ASCII.GetBytes(text.PadRight(length - 1) + "\n")];
    }

    private static BadInputException Bad(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);
}
