using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace FedLearn.Coordination;

/// <summary>Writes the named parts of a run's state. Numbers are little-endian.</summary>
/// <remarks>Parts stay where they are until all are put together, so that a large state exists twice at most, and for as long as it is put together.</remarks>
internal sealed class StateWriter
{
    private readonly List<(ReadOnlyMemory<byte> Bytes, double[]? Numbers)> _parts = [];

    /// <summary>Begins a state.</summary>
    /// <param name="kind">What it is the state of, with its version, such as <c>glm 1</c>; a reader asks for the same.</param>
    public StateWriter(string kind) => Add(kind, ReadOnlySpan<byte>.Empty);

    public StateWriter Add(string name, ReadOnlySpan<byte> value) => AddUncopied(name, value.ToArray());

    /// <summary>Adds bytes without a copy of them: they must not change before <see cref="ToArray"/> has returned.</summary>
    public StateWriter AddUncopied(string name, ReadOnlyMemory<byte> value)
    {
        AddHead(name, value.Length);
        _parts.Add((value, null));
        return this;
    }

    /// <summary>Adds numbers without a copy of them: they must not change before <see cref="ToArray"/> has returned.</summary>
    public StateWriter AddUncopied(string name, double[] values)
    {
        AddHead(name, checked(values.Length * sizeof(double)));
        _parts.Add((default, values));
        return this;
    }

    public StateWriter Add(string name, ReadOnlySpan<double> values) => Add(name, LittleEndian.Bytes(values));

    public StateWriter Add(string name, ReadOnlySpan<int> values) => Add(name, LittleEndian.Bytes(values));

    public StateWriter Add(string name, long value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        return Add(name, bytes);
    }

    public StateWriter Add(string name, string value) => Add(name, Encoding.UTF8.GetBytes(value));

    public byte[] ToArray()
    {
        byte[] all = GC.AllocateUninitializedArray<byte>(checked((int)_parts.Sum(part => LengthOf(part.Bytes, part.Numbers))));
        Span<byte> rest = all;
        foreach ((ReadOnlyMemory<byte> bytes, double[]? numbers) in _parts)
        {
            (numbers is null ? bytes.Span : LittleEndian.Bytes<double>(numbers)).CopyTo(rest);
            rest = rest[(int)LengthOf(bytes, numbers)..];
        }

        return all;
    }

    private static long LengthOf(ReadOnlyMemory<byte> bytes, double[]? numbers) => numbers is null ? bytes.Length : (long)numbers.Length * sizeof(double);

    private void AddHead(string name, int length)
    {
        byte[] head = new byte[2 * sizeof(int) + Encoding.UTF8.GetByteCount(name)];
        BinaryPrimitives.WriteInt32LittleEndian(head, head.Length - 2 * sizeof(int));
        Encoding.UTF8.GetBytes(name, head.AsSpan(sizeof(int)));
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(head.Length - sizeof(int)), length);
        _parts.Add((head, null));
    }
}

/// <summary>Reads what <see cref="StateWriter"/> wrote. Whatever does not fit is FL2540.</summary>
internal sealed class StateReader
{
    private readonly string _place;
    private readonly Dictionary<string, ReadOnlyMemory<byte>> _parts = [];

    /// <summary>Reads a state of a kind, as it was written; the place is for errors.</summary>
    public StateReader(string kind, ReadOnlyMemory<byte> bytes, string place)
    {
        _place = place;
        while (bytes.Length > 0)
        {
            string name = Encoding.UTF8.GetString(Next(ref bytes).Span);
            if (!_parts.TryAdd(name, Next(ref bytes)))
                throw Damaged();
        }

        if (!_parts.ContainsKey(kind))
            throw RunStateErrors.OtherKind(place);
    }

    /// <summary>The same state with another value of one part.</summary>
    public byte[] CopyWith(string kind, string name, ReadOnlySpan<int> values)
    {
        var copy = new StateWriter(kind);
        foreach ((string part, ReadOnlyMemory<byte> value) in _parts)
            if (part != kind && part != name)
                copy.AddUncopied(part, value);
        return copy.Add(name, values).ToArray();
    }

    public bool Has(string name) => _parts.ContainsKey(name);

    public ReadOnlyMemory<byte> Bytes(string name) => _parts.TryGetValue(name, out ReadOnlyMemory<byte> value) ? value : throw Damaged();

    public string Text(string name) => Encoding.UTF8.GetString(Bytes(name).Span);

    public long Integer(string name) => Bytes(name) is { Length: sizeof(long) } bytes ? BinaryPrimitives.ReadInt64LittleEndian(bytes.Span) : throw Damaged();

    /// <summary>A whole number within the range of an int.</summary>
    public int Integer32(string name) => Integer(name) is >= int.MinValue and <= int.MaxValue and var value ? (int)value : throw Damaged();

    /// <summary>A whole number that was kept among numbers.</summary>
    public int Whole(double number) => number is >= int.MinValue and <= int.MaxValue ? (int)number : throw Damaged();

    /// <summary>Numbers, of which there must be as many as are asked for.</summary>
    public double[] Doubles(string name, int? length = null) => Numbers<double>(name, length);

    /// <summary>Whole numbers, of which there must be as many as are asked for.</summary>
    public int[] Integers(string name, int? length = null) => Numbers<int>(name, length);

    /// <summary>The error of a part that does not fit what it is read for.</summary>
    public Diagnostics.ConfigurationException Damaged() => RunStateErrors.Damaged(_place);

    private T[] Numbers<T>(string name, int? length) where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = Bytes(name).Span;
        int size = Unsafe.SizeOf<T>();
        return bytes.Length % size == 0 && (length is not { } due || bytes.Length == (long)due * size) ? LittleEndian.Numbers<T>(bytes) : throw Damaged();
    }

    private ReadOnlyMemory<byte> Next(ref ReadOnlyMemory<byte> bytes)
    {
        if (bytes.Length < sizeof(int) || BinaryPrimitives.ReadInt32LittleEndian(bytes.Span) is var length && (length < 0 || length > bytes.Length - sizeof(int)))
            throw Damaged();
        ReadOnlyMemory<byte> value = bytes.Slice(sizeof(int), length);
        bytes = bytes[(sizeof(int) + length)..];
        return value;
    }
}

/// <summary>Numbers as bytes of states, the lowest byte first whatever the machine has.</summary>
internal static class LittleEndian
{
    /// <summary>The bytes of numbers; no copy where the machine has the same order.</summary>
    public static ReadOnlySpan<byte> Bytes<T>(ReadOnlySpan<T> numbers) where T : unmanaged => BitConverter.IsLittleEndian ? MemoryMarshal.AsBytes(numbers) : Swapped(MemoryMarshal.AsBytes(numbers), Unsafe.SizeOf<T>());

    /// <summary>The numbers of bytes.</summary>
    public static T[] Numbers<T>(ReadOnlySpan<byte> bytes) where T : unmanaged => MemoryMarshal.Cast<byte, T>(BitConverter.IsLittleEndian ? bytes : Swapped(bytes, Unsafe.SizeOf<T>())).ToArray();

    private static byte[] Swapped(ReadOnlySpan<byte> bytes, int size)
    {
        byte[] swapped = bytes.ToArray();
        for (int at = 0; at < swapped.Length; at += size)
            swapped.AsSpan(at, size).Reverse();
        return swapped;
    }
}
