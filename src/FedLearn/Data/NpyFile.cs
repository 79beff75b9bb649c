using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>Reads .npy files (NumPy format versions 1.0 to 3.0) of little-endian numbers in row-major order.</summary>
internal static partial class NpyFile
{
    private const int MaxHeader = 1 << 20;

    /// <summary>Reads an array as float64.</summary>
    /// <param name="path">The file.</param>
    /// <param name="dimensions">1 or 2; another number is refused. A vector has one column.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    internal static (int Rows, int Columns, double[] Values) Read(string path, int dimensions, CancellationToken cancellationToken)
    {
        try
        {
            DataErrors.RefuseWithoutLength(path);
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            (string type, long[] shape, long start) = ReadHeader(stream, path);
            if (shape.Length != dimensions)
                throw OtherDimensions(path, shape.Length, dimensions);
            long columns = dimensions == 2 ? shape[1] : 1;
            long count = TryMultiply(shape[0], columns) is { } product && product <= Array.MaxLength && shape[0] <= int.MaxValue && columns <= int.MaxValue
                ? product
                : throw DataErrors.Bad(DataErrors.TooLarge, path, "the array has more cells than fit one matrix in memory.", "Use fewer rows or columns.");
            int size = type[1] - '0';
            CheckLength(stream, path, start, count * size);
            double[] values = new double[count];
            if (count > 0)
                Copy(stream, start, type, values, cancellationToken);
            return ((int)shape[0], (int)columns, values);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Unreadable(path, e);
        }
    }

    /// <summary>Maps an array of two dimensions, without reading it.</summary>
    /// <param name="path">The file, which nobody may shorten while it is mapped.</param>
    internal static NpyCells Map(string path)
    {
        try
        {
            DataErrors.RefuseWithoutLength(path);
            var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
            try
            {
                (string type, long[] shape, long start) = ReadHeader(stream, path);
                if (shape.Length != 2)
                    throw OtherDimensions(path, shape.Length, 2);
                int size = type[1] - '0';
                long bytes = shape[0] <= int.MaxValue && shape[1] <= int.MaxValue / sizeof(double) && TryMultiply(shape[0], shape[1] * size) is { } product ? product
                    : throw DataErrors.Bad(DataErrors.TooLarge, path, "the array has more rows or columns than a table.", "Use fewer rows or columns.");
                CheckLength(stream, path, start, bytes);
                return new NpyCells(stream, start, type, (int)shape[0], (int)shape[1]);
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Unreadable(path, e);
        }
    }

    private static void CheckLength(FileStream stream, string path, long start, long bytes)
    {
        if (stream.Length - start != bytes)
        {
            throw DataErrors.Bad(DataErrors.MalformedNpy, path, $"the header announces {bytes} bytes of values, and {Math.Max(0, stream.Length - start)} follow.",
                "The file was cut or damaged: write it again.");
        }
    }

    private static BadInputException OtherDimensions(string path, int found, int wanted) => DataErrors.Bad(DataErrors.WrongShape, path,
        $"the array has {found} {Counted.Noun(found, "dimension")}; this needs {wanted}.", wanted == 1 ? "Give one value a row: numpy.save(path, array.reshape(-1))." : "Give a row for each id, also of one column: numpy.save(path, array.reshape(len(ids), -1)).");

    /// <summary>The dimensions that the header announces; no value is read.</summary>
    internal static long[] Shape(string path)
    {
        try
        {
            DataErrors.RefuseWithoutLength(path);
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            return ReadHeader(stream, path).Shape;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Unreadable(path, e);
        }
    }

    /// <summary>Copies straight from the mapped file, so that a large array needs no buffer beside its own.</summary>
    private static unsafe void Copy(FileStream stream, long start, string type, double[] values, CancellationToken cancellationToken)
    {
        using var map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        using MemoryMappedViewAccessor view = map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        byte* pointer = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        try
        {
            int size = type[1] - '0';
            const int Block = 1 << 20;
            for (int done = 0; done < values.Length; done += Block)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Span<double> target = values.AsSpan(done, Math.Min(Block, values.Length - done));
                Convert(new ReadOnlySpan<byte>(pointer + view.PointerOffset + start + ((long)done * size), target.Length * size), type, target);
            }
        }
        finally
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
        }
    }

    internal static void Convert(ReadOnlySpan<byte> bytes, string type, Span<double> target)
    {
        switch (type)
        {
            case "f8": MemoryMarshal.Cast<byte, double>(bytes).CopyTo(target); break;
            case "f4": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, float>(bytes), target); break;
            case "i8": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, long>(bytes), target); break;
            case "i4": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, int>(bytes), target); break;
            case "i2": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, short>(bytes), target); break;
            case "i1": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, sbyte>(bytes), target); break;
            case "u8": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, ulong>(bytes), target); break;
            case "u4": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, uint>(bytes), target); break;
            case "u2": TensorPrimitives.ConvertSaturating(MemoryMarshal.Cast<byte, ushort>(bytes), target); break;
            default: TensorPrimitives.ConvertSaturating(bytes, target); break;             // u1 and b1
        }
    }

    private static (string Type, long[] Shape, long Start) ReadHeader(FileStream stream, string path)
    {
        Span<byte> prefix = stackalloc byte[12];
        int read = stream.ReadAtLeast(prefix, prefix.Length, throwOnEndOfStream: false);
        if (read < prefix.Length || prefix[0] != 0x93 || !prefix[1..6].SequenceEqual("NUMPY"u8))
            throw Malformed(path, "the file does not begin like a .npy file.");
        int version = prefix[6];
        if (version is < 1 or > 3)
            throw Malformed(path, "the format version is unknown.");
        int start = version == 1 ? 10 : 12;
        long length = version == 1 ? BinaryPrimitives.ReadUInt16LittleEndian(prefix[8..]) : BinaryPrimitives.ReadUInt32LittleEndian(prefix[8..]);
        if (length > MaxHeader || start + length > stream.Length)
            throw Malformed(path, "the header is cut or too long.");
        byte[] header = new byte[length];
        stream.Position = start;
        stream.ReadExactly(header);
        string text = Encoding.UTF8.GetString(header);

        Match type = TypePattern().Match(text), order = OrderPattern().Match(text), shape = ShapePattern().Match(text);
        if (!type.Success || !order.Success || !shape.Success)
            throw Malformed(path, "the header does not describe one array.");
        string descr = type.Groups[1].Value;
        if (!LegalType().IsMatch(descr))
        {
            throw DataErrors.Bad(DataErrors.NpyType, path, "the array is not of little-endian float32, float64, integers or bool.",
                "Convert it in NumPy: numpy.save(path, array.astype('<f8')).");
        }

        long[] sizes;
        try
        {
            sizes = [.. shape.Groups[1].Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                .Select(size => long.Parse(size, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture))];
        }
        catch (Exception e) when (e is FormatException or OverflowException)
        {
            throw Malformed(path, "the header does not describe one array.", e);
        }

        if (order.Groups[1].Value == "True" && sizes.Count(size => size > 1) > 1)            // a vector is the same in both orders
        {
            throw DataErrors.Bad(DataErrors.NpyType, path, "the array is in Fortran order.",
                "Save it row-major: numpy.save(path, numpy.ascontiguousarray(array)).");
        }

        return (descr[1..], sizes, start + length);
    }

    private static long? TryMultiply(long a, long b) => Math.BigMul(a, b, out long low) == 0 && low >= 0 ? low : null;

    private static BadInputException Malformed(string path, string cause, Exception? inner = null) =>
        DataErrors.Bad(DataErrors.MalformedNpy, path, cause, "Write the file again with numpy.save.", inner);

    [GeneratedRegex("""['"]descr['"]\s*:\s*['"]([^'"]*)['"]""")]
    private static partial Regex TypePattern();

    [GeneratedRegex("""['"]fortran_order['"]\s*:\s*(True|False)""")]
    private static partial Regex OrderPattern();

    [GeneratedRegex("""['"]shape['"]\s*:\s*\(([^()]*)\)""")]
    private static partial Regex ShapePattern();

    // The very end, which $ is not: a line feed may follow it. One-byte types have no byte order; a file written on a big-endian machine ('>') is refused.
    [GeneratedRegex(@"^(<(f[48]|[iu][248])|\|(u1|i1|b1))\z")]
    private static partial Regex LegalType();
}
