using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Alignment.Ristretto;

/// <content>Batches of points, cut to registers, and registers to groups that share the inversion of the encoding.</content>
internal static unsafe partial class LaneCurve<TV>
{
    /// <summary>Registers of points that share one inversion: it costs some 270 products of the 2,900 of one register's multiplication, so 1/16 of it is enough.</summary>
    private const int GroupSize = 16;

    private const int ScratchSize = 32;

    /// <summary><see cref="IRistrettoEngine.Blind"/>.</summary>
    internal static void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points)
    {
        using var workspace = new Workspace(scalar);
        var w = workspace.Memory;
        var perGroup = GroupSize * TV.Count;
        for (var first = 0; first < points.Length / 32; first += perGroup)
        {
            var group = points[(32 * first)..Math.Min(points.Length, 32 * (first + perGroup))];
            var hash = hashes.Slice(64 * first, 2 * group.Length);
            var count = Registers(group.Length);
            for (var n = 0; n < count; n++)
            {
                // The two halves of the hash are mapped side by side.
                Point* sum = workspace.Points + n, pair = workspace.Points + GroupSize;
                LoadBytes(workspace.Scratch, hash[(64 * TV.Count * n)..], 64, CurveConstants.Generator);
                LoadBytes(workspace.Scratch + 1, hash[((64 * TV.Count * n) + 32)..], 64, CurveConstants.Generator);
                Map(pair, workspace.Scratch, 2, &w->Constants, workspace.Scratch + 2);
                Prepare(workspace.Table, pair + 1, &w->Constants.TwoD);
                Add(sum, pair, workspace.Table, withT: true, workspace.Scratch);
                Multiply(sum, workspace.Digits, workspace.Table, &w->Constants.TwoD, workspace.Scratch);
            }

            EncodeDoubles(workspace.Points, count, group, &w->Constants, workspace.Terms, workspace.Scratch);
        }
    }

    /// <summary><see cref="IRistrettoEngine.Multiply"/>.</summary>
    internal static int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products)
    {
        using var workspace = new Workspace(scalar);
        var w = workspace.Memory;
        var valid = stackalloc TV[2];
        var perGroup = GroupSize * TV.Count;
        for (var first = 0; first < points.Length / 32; first += perGroup)
        {
            var group = points[(32 * first)..Math.Min(points.Length, 32 * (first + perGroup))];
            var count = Registers(group.Length);
            for (var n = 0; n < count; n += 2)
            {
                // Two registers are decoded side by side, or the last one alone. What is checked here is public: a peer sent it.
                var pair = Math.Min(2, count - n);
                var encodings = group[(32 * TV.Count * n)..Math.Min(group.Length, 32 * TV.Count * (n + pair))];
                for (var k = 0; k < pair; k++) LoadBytes(workspace.Scratch + k, encodings[(32 * TV.Count * k)..], 32, CurveConstants.Generator);
                Decode(workspace.Points + n, valid, workspace.Scratch, pair, &w->Constants, workspace.Scratch + 2);
                for (var m = 0; m < encodings.Length / 32; m++)
                {
                    if (!IsAcceptable(encodings.Slice(32 * m, 32)) || ((ulong*)valid)[m] == 0) return first + (n * TV.Count) + m;
                }

                for (var k = 0; k < pair; k++) Multiply(workspace.Points + n + k, workspace.Digits, workspace.Table, &w->Constants.TwoD, workspace.Scratch);
            }

            EncodeDoubles(workspace.Points, count, products.Slice(32 * first, group.Length), &w->Constants, workspace.Terms, workspace.Scratch);
        }

        return -1;
    }

    private static int Registers(int bytes) => ((bytes / 32) + TV.Count - 1) / TV.Count;

    /// <summary>Whether bytes are those of an even number between 2 and p - 1: canonical, not negative and not the identity.</summary>
    private static bool IsAcceptable(ReadOnlySpan<byte> encoding)
    {
        var w0 = BinaryPrimitives.ReadUInt64LittleEndian(encoding);
        var w1 = BinaryPrimitives.ReadUInt64LittleEndian(encoding[8..]);
        var w2 = BinaryPrimitives.ReadUInt64LittleEndian(encoding[16..]);
        var w3 = BinaryPrimitives.ReadUInt64LittleEndian(encoding[24..]);
        const ulong top = ulong.MaxValue >> 1;
        var belowP = w3 < top || (w3 == top && (w2 != ulong.MaxValue || w1 != ulong.MaxValue || w0 < unchecked(0UL - 19)));
        return belowP && (w0 & 1) == 0 && (w0 | w1 | w2 | w3) != 0;
    }

    /// <summary>Memory of one call, aligned to the registers and wiped at the end: the table and the points say something of the ids, the digits of the scalar all.</summary>
    private readonly ref struct Workspace
    {
        internal readonly Layout* Memory;

        internal Workspace(ReadOnlySpan<byte> scalar)
        {
            Memory = (Layout*)NativeMemory.AlignedAlloc((nuint)sizeof(Layout), 64);
            Constants.Fill(&Memory->Constants);
            ScalarDigits.OfHalf(scalar, new Span<sbyte>(Memory->Digits, ScalarDigits.Count));
        }

        internal ReadOnlySpan<sbyte> Digits => new(Memory->Digits, ScalarDigits.Count);

        internal Cached* Table => (Cached*)&Memory->Table;

        internal Point* Points => (Point*)&Memory->Points;

        internal Element* Terms => (Element*)&Memory->Terms;

        internal Element* Scratch => (Element*)&Memory->Scratch;

        public void Dispose()
        {
            CryptographicOperations.ZeroMemory(new Span<byte>(Memory, sizeof(Layout)));
            NativeMemory.AlignedFree(Memory);
        }
    }

    /// <summary>What <see cref="Workspace"/> holds: all sizes are multiples of a register's.</summary>
    private struct Layout
    {
        public Constants Constants;
        public TableRoom Table;
        public PointRoom Points;
        public TermRoom Terms;
        public ScratchRoom Scratch;
        public fixed sbyte Digits[ScalarDigits.Count];
    }

    [InlineArray(ScalarDigits.TableSize + 1)]
    private struct TableRoom
    {
        private Cached _first;
    }

    // A group, and the two halves of a hash.
    [InlineArray(GroupSize + 2)]
    private struct PointRoom
    {
        private Point _first;
    }

    [InlineArray(4 * GroupSize)]
    private struct TermRoom
    {
        private Element _first;
    }

    [InlineArray(ScratchSize)]
    private struct ScratchRoom
    {
        private Element _first;
    }
}
