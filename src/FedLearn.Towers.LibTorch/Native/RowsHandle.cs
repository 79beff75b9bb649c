using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FedLearn.Dssm;

namespace FedLearn.Towers.LibTorch.Native;

/// <summary>A native copy of rows in one precision, for shipped towers or for modules, kept for as long as the rows live.</summary>
internal sealed class RowsHandle : SafeHandle
{
    private static readonly ConditionalWeakTable<TowerRows, RowsHandle?[]> Copies = [];

    public RowsHandle() : base(0, ownsHandle: true) { }

    /// <inheritdoc />
    public override bool IsInvalid => handle == 0;

    /// <summary>The copy of these rows.</summary>
    internal static RowsHandle Of(TowerRows rows, TowerPrecision precision, bool forModule)
    {
        RowsHandle?[] copies = Copies.GetValue(rows, static _ => new RowsHandle?[4]);
        lock (copies)
            return copies[2 * (int)precision + (forModule ? 1 : 0)] ??= Create(rows, precision, forModule);
    }

    /// <inheritdoc />
    protected override bool ReleaseHandle()
    {
        NativeMethods.fl_rows_free(handle);
        return true;
    }

    private static unsafe RowsHandle Create(TowerRows rows, TowerPrecision precision, bool forModule)
    {
        int bags = rows.Bags.Count;
        int[] buckets = [.. rows.Inputs.Bags.Select(bag => bag.Buckets)], means = [.. rows.Inputs.Bags.Select(bag => bag.Pooling == BagPooling.Mean ? 1 : 0)];
        nint[] offsets = new nint[bags], ids = new nint[bags], weights = new nint[bags];
        var pins = new List<GCHandle>();
        try
        {
            for (int b = 0; b < bags; b++)
                (offsets[b], ids[b], weights[b]) = (Pin(rows.Bags[b].Offsets), Pin(rows.Bags[b].Ids), Pin(rows.Bags[b].Weights));
            fixed (double* dense = rows.Dense)
            fixed (int* bucketsAt = buckets, meansAt = means)
            fixed (nint* offsetsAt = offsets, idsAt = ids, weightsAt = weights)
            {
                NativeStatus.Check(NativeMethods.fl_rows_create((int)precision, forModule ? 1 : 0, rows.Rows, rows.Inputs.DenseWidth, dense, bags, bucketsAt, meansAt, (int**)offsetsAt, (int**)idsAt, (double**)weightsAt,
                    out nint created, out nint message), message);
                var copy = new RowsHandle();
                copy.SetHandle(created);
                return copy;
            }
        }
        finally
        {
            foreach (GCHandle pin in pins)
                pin.Free();
        }

        nint Pin(Array? array)
        {
            if (array is null)
                return 0;
            pins.Add(GCHandle.Alloc(array, GCHandleType.Pinned));
            return pins[^1].AddrOfPinnedObject();
        }
    }
}
