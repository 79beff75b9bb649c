using System.IO.MemoryMappedFiles;
using System.Numerics.Tensors;
using FedLearn.Diagnostics;

namespace FedLearn.Numerics;

/// <summary>Rows of which every cell is stored, as float64 or float32, in a mapped scratch file: outside the managed heap, and of more cells than an array has. The system may write pages
/// out when memory is short. The file has no name any more while it is used (on Windows it is removed when it is closed).</summary>
#pragma warning disable CA1001 // rows are disposed of by nobody: the finalizers of the map and of the file release them with the last of their readers
internal sealed unsafe class MappedRows : FeatureRows
#pragma warning restore CA1001
{
    private readonly FileStream? _file;
    private readonly bool _single;
    private MemoryMappedFile? _map;
    private MemoryMappedViewAccessor? _view;
    private byte* _cells;

    private MappedRows(string folder, int rows, int columns, bool single)
    {
        (Folder, Rows, Columns, _single) = (folder, rows, columns, single);
        _file = Bytes == 0 ? null : Scratch(folder, 0);
    }

    private static FileStream Scratch(string folder, long bytes)
    {
        string path = Path.Combine(folder, $".fedlearn-{Guid.NewGuid():N}.features");
        FileStreamOptions options = DurableFile.OwnerOnly(FileMode.CreateNew);
        (options.Options, options.PreallocationSize, options.BufferSize) = (FileOptions.DeleteOnClose, bytes, 0);
        var file = new FileStream(path, options);
        try
        {
            if (!OperatingSystem.IsWindows())
                File.Delete(path);                              // now, so that a process that is killed leaves nothing
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes rows to a new scratch file.</summary>
    /// <param name="folder">Folder of the file.</param>
    /// <param name="rows">Number of rows, at least 0.</param>
    /// <param name="columns">Number of columns, at least 1.</param>
    /// <param name="single">Whether cells are float32.</param>
    /// <param name="fill">Gives every row, in any order.</param>
    /// <exception cref="IOException">The file cannot be made or written, or there is no room for it.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder cannot be written to.</exception>
    public static MappedRows Create(string folder, int rows, int columns, bool single, Action<RowScatter> fill)
    {
        var created = new MappedRows(folder, rows, columns, single);
        try
        {
            return created.Write(fill);
        }
        catch
        {
            created._file?.Dispose();
            throw;
        }
    }

    private MappedRows Write(Action<RowScatter> fill)
    {
        if (_file is null)
            return this;
        Unmap();
        // The file is given its full size first, so that a full disk shows before the work.
        using (FileStream came = Scratch(Folder, Bytes))
        {
            var scatter = new RowScatter(came.SafeFileHandle, _file.SafeFileHandle, Rows, Columns * CellSize);
            fill(scatter);
            scatter.Finish();
        }

        _map = MemoryMappedFile.CreateFromFile(_file, null, Bytes, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
        _view = _map.CreateViewAccessor(0, Bytes);
        byte* pointer = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _cells = pointer + _view.PointerOffset;
        return this;
    }

    // The map is closed before the file is written to: not every system shows in a map what is written beside it.
    private void Unmap()
    {
        _cells = null;
        _view?.SafeMemoryMappedViewHandle.ReleasePointer();
        _view?.Dispose();
        _map?.Dispose();
        (_view, _map) = (null, null);
    }

    // Gives back the pointer, without which the view would never be released.
    ~MappedRows() => _view?.SafeMemoryMappedViewHandle.ReleasePointer();

    /// <summary>Folder of the file, and of one for the same rows in another order.</summary>
    public string Folder { get; }

    /// <inheritdoc/>
    public override int Rows { get; }

    /// <inheritdoc/>
    public override int Columns { get; }

    private long Bytes => (long)Rows * Columns * CellSize;

    private int CellSize => _single ? sizeof(float) : sizeof(double);

    private byte* At(int row) => _cells + (long)row * Columns * CellSize;

    private ReadOnlySpan<double> Doubles(int row) => new((double*)At(row), Columns);

    private ReadOnlySpan<float> Singles(int row) => new((float*)At(row), Columns);

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
    internal override void ScoresAndGradient(int start, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks blocks, Span<double> residuals, Span<double> gradient)
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
        int[] places = new int[Rows];
        for (int i = 0; i < order.Length; i++)
            places[order[i]] = i;
        // Read from the start to the end, since there may be more of it than memory.
        void Fill(RowScatter scatter)
        {
            for (int i = 0; i < places.Length; i++)
                scatter.Add(places[i], new ReadOnlySpan<byte>(At(i), Columns * CellSize));
        }

        bool fits = reuse is MappedRows { Rows: var rows, Columns: var columns, _single: var single } && rows == Rows && columns == Columns && single == _single;
        MappedRows reordered = fits ? ((MappedRows)reuse!).Write(Fill) : Create(Folder, Rows, Columns, _single, Fill);
        GC.KeepAlive(this);
        return reordered;
    }
}
