using System.IO.MemoryMappedFiles;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FedLearn.Diagnostics;

namespace FedLearn.Numerics;

/// <summary>Rows of which every cell is stored, as float64 or float32, in a mapped scratch file: outside the managed heap, and of more cells than an array has. The system may write pages
/// out when memory is short. The file has no name any more while it is used (on Windows it is removed when it is closed).</summary>
#pragma warning disable CA1001 // rows are disposed of by nobody: the finalizers of the map and of the file release them with the last of their readers
internal sealed unsafe class MappedRows : FeatureRows
#pragma warning restore CA1001
{
    private readonly string _folder;
    private readonly FileStream? _file;
    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _cells;
    private readonly bool _single;

    /// <summary>Makes rows of zeros.</summary>
    /// <param name="folder">Folder of the file.</param>
    /// <param name="rows">Number of rows, at least 0.</param>
    /// <param name="columns">Number of columns, at least 1.</param>
    /// <param name="single">Whether cells are float32.</param>
    /// <exception cref="IOException">The file cannot be made, or there is no room for it.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder cannot be written to.</exception>
    public MappedRows(string folder, int rows, int columns, bool single)
    {
        (_folder, Rows, Columns, _single) = (folder, rows, columns, single);
        long bytes = (long)rows * columns * CellSize;
        if (bytes == 0)
            return;
        string path = Path.Combine(folder, $".fedlearn-{Guid.NewGuid():N}.features");
        FileStreamOptions options = DurableFile.OwnerOnly(FileMode.CreateNew);
        options.Options = FileOptions.DeleteOnClose;
        options.PreallocationSize = bytes;                      // room that is there now: a mapped file has no other way to say that the disk is full than to end the process
        _file = new FileStream(path, options);
        try
        {
            if (!OperatingSystem.IsWindows())
                File.Delete(path);                              // now, so that a process that is killed leaves nothing
            _file.SetLength(bytes);
            _map = MemoryMappedFile.CreateFromFile(_file, null, bytes, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: false);
            _view = _map.CreateViewAccessor(0, bytes);
            byte* pointer = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            _cells = pointer + _view.PointerOffset;
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    // The view does not go while its pointer is out.
    ~MappedRows() => _view?.SafeMemoryMappedViewHandle.ReleasePointer();

    /// <inheritdoc/>
    public override int Rows { get; }

    /// <inheritdoc/>
    public override int Columns { get; }

    private int CellSize => _single ? sizeof(float) : sizeof(double);

    private byte* At(int row) => _cells + (long)row * Columns * CellSize;

    /// <summary>A row of float64 cells, as a view; of no use after the rows themselves are unreachable.</summary>
    public Span<double> Doubles(int row) => _single ? throw new InvalidOperationException("The cells are float32.") : new((double*)At(row), Columns);

    /// <summary>A row of float32 cells, as a view; of no use after the rows themselves are unreachable.</summary>
    public Span<float> Singles(int row) => _single ? new((float*)At(row), Columns) : throw new InvalidOperationException("The cells are float64.");

    /// <inheritdoc/>
    public override void Scores(int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        LinearKernels.CheckShapes(Rows, Columns, start, weights.Length, scores.Length);
        if (_single)
            DenseKernels.Scores((float*)At(start), weights, scores);
        else
            DenseKernels.Scores((double*)At(start), weights, scores);
        GC.KeepAlive(this);
    }

    /// <inheritdoc/>
    public override void Gradient(int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        LinearKernels.CheckShapes(Rows, Columns, start, gradient.Length, residuals.Length);
        if (_single)
            DenseKernels.Gradient((float*)At(start), residuals, gradient);
        else
            DenseKernels.Gradient((double*)At(start), residuals, gradient);
        GC.KeepAlive(this);
    }

    /// <inheritdoc/>
    public override void ScoresAndGradient(int start, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks blocks, Span<double> residuals, Span<double> gradient)
    {
        CheckShapes(start, weights, scores, blocks, residuals, gradient);
        if (_single)
            DenseKernels.ScoresAndGradient((float*)At(start), weights, scores, blocks, residuals, gradient);
        else
            DenseKernels.ScoresAndGradient((double*)At(start), weights, scores, blocks, residuals, gradient);
        GC.KeepAlive(this);
    }

    /// <inheritdoc/>
    internal override (double Score, double Gradient) Roundings(int rows) => DenseKernels.Roundings(Columns);

    /// <inheritdoc/>
    public override double Length(int row)
    {
        double length = _single ? SingleRows.LengthOf(Singles(row)) : TensorPrimitives.Norm<double>(Doubles(row));
        GC.KeepAlive(this);
        return length;
    }

    /// <inheritdoc/>
    public override void CopyRow(int row, Span<double> cells)
    {
        cells = cells[..Columns];
        if (_single)
            TensorPrimitives.ConvertTruncating<float, double>(Singles(row), cells);
        else
            Doubles(row).CopyTo(cells);
        GC.KeepAlive(this);
    }

    /// <inheritdoc/>
    public override FeatureRows Reordered(ReadOnlySpan<int> order, FeatureRows? reuse = null)
    {
        CheckOrder(order);
        var target = reuse is MappedRows { Rows: var rows, Columns: var columns } mapped && rows == Rows && columns == Columns && mapped._single == _single ? mapped
            : new MappedRows(_folder, Rows, Columns, _single);
        nuint length = (nuint)Columns * (nuint)CellSize;
        for (int i = 0; i < order.Length; i++)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)order[i], (uint)Rows, nameof(order));
            NativeMemory.Copy(At(order[i]), target.At(i), length);
        }

        GC.KeepAlive(this);
        GC.KeepAlive(target);
        return target;
    }
}
