using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Tests.Data;
using Microsoft.Win32.SafeHandles;

namespace FedLearn.Tests.Numerics;

public sealed class RowScatterTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // One row a piece; pieces that do not divide a stretch; one stretch; rows longer than a stretch; stretches shorter than the alignment, and longer.
    [Theory]
    [InlineData(1, 4, 16, 8, 8), InlineData(97, 4, 16, 4, 64), InlineData(97, 4, 40, 12, 16), InlineData(97, 3, 1000, 7, 10), InlineData(9, 50, 16, 8, 64), InlineData(5000, 4, 4, 4, 8), InlineData(2000, 7, 91, 30, 64)]
    public void Finish_RowsInAnyOrder_StandAtTheirPlaces(int rows, int rowBytes, int stretchBytes, int pieceBytes, int alignment)
    {
        var random = new Random(rows);
        byte[][] cells = [.. Enumerable.Range(0, rows).Select(_ => new byte[rowBytes])];
        foreach (byte[] row in cells)
            random.NextBytes(row);
        int[] shuffled = [.. Enumerable.Range(0, rows)];
        random.Shuffle(shuffled);
        foreach (int[] order in new[] { [.. Enumerable.Range(0, rows)], [.. Enumerable.Range(0, rows).Reverse()], shuffled })
        {
            using (SafeFileHandle came = Open("came"), target = Open("target"))
            {
                var scatter = new RowScatter(came, target, rows, rowBytes, stretchBytes, pieceBytes, alignment);
                foreach (int place in order)
                    scatter.Add<byte>(place, cells[place]);
                scatter.Finish();
                Assert.Equal(0, RandomAccess.GetLength(came));
            }

            Assert.Equal(cells.SelectMany(row => row), File.ReadAllBytes(_folder["target"]));
        }
    }

    private SafeFileHandle Open(string name) => File.OpenHandle(_folder[name], FileMode.Create, FileAccess.ReadWrite);

    [Fact]
    public void Add_PlaceTakenTwiceOrRowMissing_IsRefused()
    {
        using SafeFileHandle came = Open("came"), target = Open("target");
        var scatter = new RowScatter(came, target, 3, 1, stretchBytes: 2);
        scatter.Add<byte>(2, [7]);
        Assert.Throws<InvalidOperationException>(() => scatter.Add<byte>(2, [7]));
        Assert.Throws<InvalidOperationException>(scatter.Finish);
        Assert.Throws<ArgumentOutOfRangeException>(() => scatter.Add<byte>(3, [7]));
        Assert.Throws<ArgumentOutOfRangeException>(() => scatter.Add<byte>(0, [7, 7]));
    }

    private MappedRows Mapped(string folder, int rows, int columns, bool single, float[] cells) => MappedRows.Create(Directory.CreateDirectory(_folder[folder]).FullName, rows, columns, single, scatter =>
    {
        for (int i = 0; i < rows; i++)
            if (single)
                scatter.Add<float>(i, cells.AsSpan(i * columns, columns));
            else
                scatter.Add<double>(i, Array.ConvertAll(cells[(i * columns)..((i + 1) * columns)], cell => (double)cell));
    });

    [Theory]
    [InlineData(false), InlineData(true)]
    public void Reordered_MappedRows_AreThoseInMemory(bool single)
    {
        const int Rows = 500, Columns = 7;
        var random = new Random(3);
        float[] cells = [.. Enumerable.Range(0, Rows * Columns).Select(_ => random.NextSingle())];
        int[] order = [.. Enumerable.Range(0, Rows)];
        random.Shuffle(order);
        MappedRows rows = Mapped("scratch", Rows, Columns, single, cells);
        FeatureRows other = rows.Reordered([.. order.Reverse()]), turned = rows.Reordered(order, other);
        Assert.Same(other, turned);
        double[] row = new double[Columns];
        for (int i = 0; i < Rows; i++)
        {
            turned.CopyRow(i, row);
            Assert.Equal(cells.AsSpan(order[i] * Columns, Columns).ToArray().Select(cell => (double)cell), row);
        }
    }

    [Fact]
    public void Reordered_FolderGone_IsRefusedByName()
    {
        var part = new LinearPart(Mapped("scratch", 2, 1, single: false, [1, 2]), freeIntercept: false);
        Directory.Delete(_folder["scratch"], recursive: true);
        BadInputException error = Assert.Throws<BadInputException>(() => part.Reordered([1, 0], null));
        Assert.Equal((DataErrors.ScratchUnusable, _folder["scratch"]), (error.Id, error.Place));
    }
}
