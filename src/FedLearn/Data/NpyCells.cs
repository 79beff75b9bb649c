using System.IO.MemoryMappedFiles;

namespace FedLearn.Data;

/// <summary>Cells of a mapped .npy file, converted when a row is read.</summary>
internal sealed unsafe class NpyCells : TableCells
{
    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _cells;
    private readonly string _type;
    private readonly int _size;

    /// <summary>Maps a file.</summary>
    /// <param name="file">The file, which is closed with the map.</param>
    /// <param name="start">Where its values start.</param>
    /// <param name="type">Type of its values.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Number of columns.</param>
    internal NpyCells(FileStream file, long start, string type, int rows, int columns)
    {
        (_type, _size, Rows, Columns) = (type, type[1] - '0', rows, columns);
        if (rows == 0 || columns == 0)
        {
            file.Dispose();
            return;
        }

        _map = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        _view = _map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        byte* pointer = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _cells = pointer + _view.PointerOffset + start;
    }

    // Gives back the pointer, without which the view would never be released.
    ~NpyCells() => _view?.SafeMemoryMappedViewHandle.ReleasePointer();

    /// <inheritdoc/>
    internal override int Rows { get; }

    /// <inheritdoc/>
    internal override int Columns { get; }

    /// <inheritdoc/>
    internal override bool IsSequential => true;

    /// <summary>Columns whose NaN stands for a constant, with it.</summary>
    internal (int Column, double Constant)[] Missing { get; set; } = [];

    /// <inheritdoc/>
    internal override ReadOnlySpan<double> Row(int row, Span<double> buffer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows, nameof(row));
        buffer = buffer[..Columns];
        NpyFile.Convert(new ReadOnlySpan<byte>(_cells + (long)row * Columns * _size, Columns * _size), _type, buffer);
        foreach ((int column, double constant) in Missing)
            if (double.IsNaN(buffer[column]))
                buffer[column] = constant;
        GC.KeepAlive(this);
        return buffer;
    }
}
