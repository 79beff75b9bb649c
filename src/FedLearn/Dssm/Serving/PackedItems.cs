using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedLearn.Dssm;

/// <summary>Item vectors in panels of 16 items, coordinate by coordinate, and the exact search over them.</summary>
/// <remarks>Six users meet a panel at a time, so that a panel is read once from the first cache for six users, and all sums stay in registers (12 of 16 with 256 bits).</remarks>
internal sealed class PackedItems
{
    private const int Panel = 16, Group = 6, GroupsOfBlock = 8, Half = 8;

    private readonly float[] _panels, _bias;
    private readonly int _items, _width;

    public PackedItems(ReadOnlySpan<float> vectors, int width, float[]? bias)
    {
        (_items, _width) = (vectors.Length / width, width);
        int panels = (_items + Panel - 1) / Panel;
        _panels = new float[checked(panels * Panel * width)];
        _bias = new float[panels * Panel];
        Array.Fill(_bias, float.NegativeInfinity, _items, _bias.Length - _items);         // what fills the last panel is never above a threshold
        bias?.CopyTo(_bias, 0);
        for (int item = 0; item < _items; item++)
            for (int d = 0; d < width; d++)
                _panels[(((item / Panel * width) + d) * Panel) + (item % Panel)] = vectors[(item * width) + d];
    }

    /// <summary>The best items of each user. Users are [count x width], and what one excludes are rising indices. The threads share blocks of users.</summary>
    public RankedItem[][] Search(float[] users, int count, int length, int[][] exclude, CancellationToken cancellationToken)
    {
        var lists = new RankedItem[count][];
        const int Block = Group * GroupsOfBlock;
        Parallel.For(0, (count + Block - 1) / Block, new ParallelOptions { CancellationToken = cancellationToken }, block =>
        {
            int begin = block * Block, own = Math.Min(Block, count - begin);
            var best = new BestItems[own];
            for (int i = 0; i < own; i++)
                best[i] = new BestItems(length, exclude[begin + i]);
            SearchBlock(users.AsSpan(begin * _width, own * _width), best);
            for (int i = 0; i < own; i++)
                lists[begin + i] = best[i].ToArray();
        });
        return lists;
    }

    private void SearchBlock(ReadOnlySpan<float> users, BestItems[] best)
    {
        int groups = (best.Length + Group - 1) / Group;
        float[] packed = new float[groups * Group * _width];
        for (int user = 0; user < best.Length; user++)
            for (int d = 0; d < _width; d++)
                packed[(((user / Group * _width) + d) * Group) + (user % Group)] = users[(user * _width) + d];
        Span<float> scores = stackalloc float[Group * Panel];
        for (int panel = 0; panel < _bias.Length; panel += Panel)
        {
            for (int group = 0; group < groups; group++)
            {
                Score(ref packed[group * Group * _width], ref _panels[panel * _width], ref _bias[panel], _width, ref scores[0]);
                int last = Math.Min(Group, best.Length - (group * Group));
                for (int user = 0; user < last; user++)
                    best[(group * Group) + user].Offer(scores.Slice(user * Panel, Panel), panel);
            }
        }
    }

    /// <summary>Scores of six users for sixteen items: bias, then one fused multiply-add a coordinate, in order.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Score(ref float users, ref float items, ref float bias, int width, ref float scores)
    {
        unchecked
        {
            Vector256<float> left = Vector256.LoadUnsafe(ref bias), right = Vector256.LoadUnsafe(ref bias, Half);
            Vector256<float> a0 = left, a1 = right, b0 = left, b1 = right, c0 = left, c1 = right, d0 = left, d1 = right, e0 = left, e1 = right, f0 = left, f1 = right;
            for (int i = 0; i < width; i++)
            {
                left = Vector256.LoadUnsafe(ref items);
                right = Vector256.LoadUnsafe(ref items, Half);
                Vector256<float> user = Vector256.Create(users);
                (a0, a1) = (Vector256.FusedMultiplyAdd(user, left, a0), Vector256.FusedMultiplyAdd(user, right, a1));
                user = Vector256.Create(Unsafe.Add(ref users, 1));
                (b0, b1) = (Vector256.FusedMultiplyAdd(user, left, b0), Vector256.FusedMultiplyAdd(user, right, b1));
                user = Vector256.Create(Unsafe.Add(ref users, 2));
                (c0, c1) = (Vector256.FusedMultiplyAdd(user, left, c0), Vector256.FusedMultiplyAdd(user, right, c1));
                user = Vector256.Create(Unsafe.Add(ref users, 3));
                (d0, d1) = (Vector256.FusedMultiplyAdd(user, left, d0), Vector256.FusedMultiplyAdd(user, right, d1));
                user = Vector256.Create(Unsafe.Add(ref users, 4));
                (e0, e1) = (Vector256.FusedMultiplyAdd(user, left, e0), Vector256.FusedMultiplyAdd(user, right, e1));
                user = Vector256.Create(Unsafe.Add(ref users, 5));
                (f0, f1) = (Vector256.FusedMultiplyAdd(user, left, f0), Vector256.FusedMultiplyAdd(user, right, f1));
                users = ref Unsafe.Add(ref users, Group);
                items = ref Unsafe.Add(ref items, Panel);
            }

            a0.StoreUnsafe(ref scores);
            a1.StoreUnsafe(ref scores, Half);
            b0.StoreUnsafe(ref scores, Panel);
            b1.StoreUnsafe(ref scores, Panel + Half);
            c0.StoreUnsafe(ref scores, 2 * Panel);
            c1.StoreUnsafe(ref scores, (2 * Panel) + Half);
            d0.StoreUnsafe(ref scores, 3 * Panel);
            d1.StoreUnsafe(ref scores, (3 * Panel) + Half);
            e0.StoreUnsafe(ref scores, 4 * Panel);
            e1.StoreUnsafe(ref scores, (4 * Panel) + Half);
            f0.StoreUnsafe(ref scores, 5 * Panel);
            f1.StoreUnsafe(ref scores, (5 * Panel) + Half);
        }
    }

    /// <summary>The best items of one user so far, by falling score. Items come in rising order, so that of equal scores the earlier stays before the later.</summary>
    private sealed class BestItems(int length, int[] exclude)
    {
        private readonly RankedItem[] _best = new RankedItem[length];
        private int _count;
        private float _threshold = float.NegativeInfinity;

        public void Offer(ReadOnlySpan<float> scores, int firstItem)
        {
            var threshold = Vector256.Create(_threshold);
            if (!Vector256.GreaterThanAny(Vector256.Create(scores), threshold) && !Vector256.GreaterThanAny(Vector256.Create(scores[Half..]), threshold))
                return;
            for (int i = 0; i < scores.Length; i++)
                if (scores[i] > _threshold && Array.BinarySearch(exclude, firstItem + i) < 0)
                    Insert(new RankedItem(firstItem + i, scores[i]));
        }

        public RankedItem[] ToArray() => _best[.._count];

        private void Insert(RankedItem item)
        {
            int low = 0, high = _count;
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (_best[middle].Score >= item.Score)
                    low = middle + 1;
                else
                    high = middle;
            }

            int moved = Math.Min(_count, length - 1) - low;
            Array.Copy(_best, low, _best, low + 1, moved);
            _best[low] = item;
            _count = Math.Min(_count + 1, length);
            if (_count == length)
                _threshold = _best[^1].Score;
        }
    }
}
