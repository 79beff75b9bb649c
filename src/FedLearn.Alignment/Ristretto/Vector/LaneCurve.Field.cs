using System.Runtime.CompilerServices;

namespace FedLearn.Alignment.Ristretto;

/// <summary>
/// ristretto255 on the lanes of one register: each lane computes with a point of its own, all in step, without a branch or an address that depends on a value.
/// This part is the field of p = 2^255 - 19.
/// </summary>
/// <remarks>
/// <para>An element is five limbs of radix 2^51, signed integers held as doubles: x = sum of limb k times 2^(51 k). Two bounds matter:</para>
/// <para>reduced: every |limb| at most R = 2^50 + 2^11. Products come out so, and so does <see cref="Carry"/>.
/// A sum or difference of n reduced elements has |limb| at most n R: its weight is n.</para>
/// <para>A product of limbs a and b, |a b| &lt; 2^102, is split exactly by two fused multiply-adds. The first adds 1.5 * 2^103; the sum lies in [2^103, 2^104], where
/// doubles are the multiples of 2^51, so it is 1.5 * 2^103 + h 2^51, h the integer nearest to a b / 2^51, |h| at most 2^51; its bits, read as an integer, are those of 1.5 * 2^103
/// plus h. The second gives a b - h 2^51 + 1.5 * 2^52: exact, as the rest is at most 2^50 in size and doubles in [2^52, 2^53] are the integers; its bits are those of
/// 1.5 * 2^52 plus the rest. (1.5 * 2^103 + 1.5 * 2^52 less the first sum is a multiple of 2^51 below 2^103, so exact too.) The bits are added up
/// modulo 2^64, and the known sum of the constants' bits comes off at the end.</para>
/// <para>|a b| &lt; 2^102 holds when the weights' product is at most 3: 3 R^2 = 3 * 2^100 (1 + 2^-39)^2. The square doubles a limb: 2 R^2 &lt; 2^102, so its operand has to be reduced.</para>
/// <para>Column k of the product has the rests of the products of index sum k and the h of those of index sum k - 1; column k + 5 is folded into k by
/// 2^255 = 19. Worst is limb 0: 1 rest + 19 (4 rests + 5 h), at most (1 + 19 (4 + 10)) 2^50 = 267 * 2^50 &lt; 2^59: what is called a raw element here, five integers.
/// Limbs 1 to 4: 213, 159, 105, 51 times 2^50. Sums of weight 4 of raw elements stay below 2^61.</para>
/// <para>Carry: x + 2^50 + 2^62 is in (0, 2^63) for |x| &lt; 2^62 - 2^50; its low 51 bits less 2^50 stay, its upper bits less 2^11 go to the next limb, those of limb 4
/// times 19 to limb 0. From raw sums of weight 4: at most 4 * 51/2 + 1 = 103 leaves limb 4 and 4 * 267/2 + 1 = 535 the others, so limb 0 ends within 2^50 + 1957 and
/// the others within 2^50 + 535: reduced.</para>
/// </remarks>
/// <typeparam name="TV">The register.</typeparam>
internal static unsafe partial class LaneCurve<TV>
    where TV : unmanaged, ILanes<TV>
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    // A method of this kind is compiled once and for good at its first call: no slow first tier, and its constants are all literals.
    private const MethodImplOptions Kernel = MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization;

    // Bits of 1.5 * 2^103 and of 1.5 * 2^52, and of 1.5 * 2^103 + 1.5 * 2^52.
    private const ulong HighBits = 0x4668000000000000, LowBits = 0x4338000000000000, RestBits = 0x4668000000000003;
    private const ulong LimbMask = (1UL << 51) - 1;

    // Bits of 2^52: or-ed to an integer below 2^52 they make the double 2^52 + integer.
    private const ulong Exponent = 0x4330000000000000;
    private const ulong SignBit = 1UL << 63;

    // 4 p, limb by limb.
    private const ulong FourP0 = 4 * ((1UL << 51) - 19), FourP = 4 * ((1UL << 51) - 1);

    // What the bits of the constants add to each limb: rests and h of its column, and 19 times those of the column that is folded into it.
    private const ulong Product0 = unchecked((1 * LowBits) + (19 * ((4 * LowBits) + (5 * HighBits))));
    private const ulong Product1 = unchecked((2 * LowBits) + (1 * HighBits) + (19 * ((3 * LowBits) + (4 * HighBits))));
    private const ulong Product2 = unchecked((3 * LowBits) + (2 * HighBits) + (19 * ((2 * LowBits) + (3 * HighBits))));
    private const ulong Product3 = unchecked((4 * LowBits) + (3 * HighBits) + (19 * ((1 * LowBits) + (2 * HighBits))));
    private const ulong Product4 = unchecked((5 * LowBits) + (4 * HighBits) + (19 * (1 * HighBits)));
    private const ulong Square0 = unchecked((1 * LowBits) + (19 * ((2 * LowBits) + (3 * HighBits))));
    private const ulong Square1 = unchecked((1 * LowBits) + (1 * HighBits) + (19 * ((2 * LowBits) + (2 * HighBits))));
    private const ulong Square2 = unchecked((2 * LowBits) + (1 * HighBits) + (19 * ((1 * LowBits) + (2 * HighBits))));
    private const ulong Square3 = unchecked((2 * LowBits) + (2 * HighBits) + (19 * ((1 * LowBits) + (1 * HighBits))));
    private const ulong Square4 = unchecked((3 * LowBits) + (2 * HighBits) + (19 * (1 * HighBits)));

    // 2^62 + 2^50, which Carry works with.
    private const ulong CarryOffset = (1UL << 62) + (1UL << 50);

    /// <summary>An element of the field in each lane: doubles, or the integers of a raw element.</summary>
    internal struct Element
    {
        public TV L0;
        public TV L1;
        public TV L2;
        public TV L3;
        public TV L4;
    }

    /// <summary>r = a b, reduced; product of the weights at most 3. r may be a or b.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void Multiply(Element* r, Element* a, Element* b)
    {
        ProductSums(a, b, out var c0, out var c1, out var c2, out var c3, out var c4);
        Store(
            r,
            TV.AddBits(c0, TV.Bits(unchecked(CarryOffset - Product0))),
            TV.AddBits(c1, TV.Bits(unchecked(CarryOffset - Product1))),
            TV.AddBits(c2, TV.Bits(unchecked(CarryOffset - Product2))),
            TV.AddBits(c3, TV.Bits(unchecked(CarryOffset - Product3))),
            TV.AddBits(c4, TV.Bits(unchecked(CarryOffset - Product4))));
    }

    /// <summary>r = a b, raw; product of the weights at most 3.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void MultiplyRaw(Element* r, Element* a, Element* b)
    {
        ProductSums(a, b, out var c0, out var c1, out var c2, out var c3, out var c4);
        r->L0 = TV.SubtractBits(c0, TV.Bits(Product0));
        r->L1 = TV.SubtractBits(c1, TV.Bits(Product1));
        r->L2 = TV.SubtractBits(c2, TV.Bits(Product2));
        r->L3 = TV.SubtractBits(c3, TV.Bits(Product3));
        r->L4 = TV.SubtractBits(c4, TV.Bits(Product4));
    }

    /// <summary>r = a^2, reduced; a reduced. r may be a.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void Square(Element* r, Element* a)
    {
        SquareSums(a, out var c0, out var c1, out var c2, out var c3, out var c4);
        Store(
            r,
            TV.AddBits(c0, TV.Bits(unchecked(CarryOffset - Square0))),
            TV.AddBits(c1, TV.Bits(unchecked(CarryOffset - Square1))),
            TV.AddBits(c2, TV.Bits(unchecked(CarryOffset - Square2))),
            TV.AddBits(c3, TV.Bits(unchecked(CarryOffset - Square3))),
            TV.AddBits(c4, TV.Bits(unchecked(CarryOffset - Square4))));
    }

    /// <summary>r = a^2, raw; a reduced.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void SquareRaw(Element* r, Element* a)
    {
        SquareSums(a, out var c0, out var c1, out var c2, out var c3, out var c4);
        r->L0 = TV.SubtractBits(c0, TV.Bits(Square0));
        r->L1 = TV.SubtractBits(c1, TV.Bits(Square1));
        r->L2 = TV.SubtractBits(c2, TV.Bits(Square2));
        r->L3 = TV.SubtractBits(c3, TV.Bits(Square3));
        r->L4 = TV.SubtractBits(c4, TV.Bits(Square4));
    }

    /// <summary>r = a of raw integers, each below 2^61 in size; reduced when they are sums of at most four raw elements, or below 2^51.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void Carry(Element* r, Element* a)
    {
        var offset = TV.Bits(CarryOffset);
        Store(r, TV.AddBits(a->L0, offset), TV.AddBits(a->L1, offset), TV.AddBits(a->L2, offset), TV.AddBits(a->L3, offset), TV.AddBits(a->L4, offset));
    }

    /// <summary>r = a + b of raw integers, carried.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void CarrySum(Element* r, Element* a, Element* b)
    {
        var offset = TV.Bits(CarryOffset);
        Store(
            r,
            TV.AddBits(TV.AddBits(a->L0, offset), b->L0),
            TV.AddBits(TV.AddBits(a->L1, offset), b->L1),
            TV.AddBits(TV.AddBits(a->L2, offset), b->L2),
            TV.AddBits(TV.AddBits(a->L3, offset), b->L3),
            TV.AddBits(TV.AddBits(a->L4, offset), b->L4));
    }

    /// <summary>r = a - b of raw integers, carried.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void CarryDifference(Element* r, Element* a, Element* b)
    {
        var offset = TV.Bits(CarryOffset);
        Store(
            r,
            TV.SubtractBits(TV.AddBits(a->L0, offset), b->L0),
            TV.SubtractBits(TV.AddBits(a->L1, offset), b->L1),
            TV.SubtractBits(TV.AddBits(a->L2, offset), b->L2),
            TV.SubtractBits(TV.AddBits(a->L3, offset), b->L3),
            TV.SubtractBits(TV.AddBits(a->L4, offset), b->L4));
    }

    /// <summary>r = a + b limb by limb, exact while the limbs stay below 2^53: the weights add up.</summary>
    [MethodImpl(Inline)]
    internal static void Add(Element* r, Element* a, Element* b)
    {
        r->L0 = TV.Add(a->L0, b->L0);
        r->L1 = TV.Add(a->L1, b->L1);
        r->L2 = TV.Add(a->L2, b->L2);
        r->L3 = TV.Add(a->L3, b->L3);
        r->L4 = TV.Add(a->L4, b->L4);
    }

    /// <summary>r = a - b limb by limb, exact while the limbs stay below 2^53: the weights add up.</summary>
    [MethodImpl(Inline)]
    internal static void Subtract(Element* r, Element* a, Element* b)
    {
        r->L0 = TV.Subtract(a->L0, b->L0);
        r->L1 = TV.Subtract(a->L1, b->L1);
        r->L2 = TV.Subtract(a->L2, b->L2);
        r->L3 = TV.Subtract(a->L3, b->L3);
        r->L4 = TV.Subtract(a->L4, b->L4);
    }

    /// <summary>r = a + b, reduced, of elements of weights that add up to at most 4: each |limb| of the sum at most 2^52 + 2^13.</summary>
    [MethodImpl(Inline)]
    internal static void AddReduced(Element* r, Element* a, Element* b)
    {
        Add(r, a, b);
        Reduce(r, r);
    }

    /// <summary>r = a - b, reduced; as for <see cref="AddReduced"/>.</summary>
    [MethodImpl(Inline)]
    internal static void SubtractReduced(Element* r, Element* a, Element* b)
    {
        Subtract(r, a, b);
        Reduce(r, r);
    }

    /// <summary>r = a, reduced: a carry of doubles, for |limb| at most 2^52 + 2^13. r may be a.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void Reduce(Element* r, Element* a)
    {
        // limb + 1.5 * 2^103 - 1.5 * 2^103 is the multiple of 2^51 next to the limb: 0, 1 or 2 times 2^51 in size here; what remains is at most 2^50, and comes the carry (at most 19 * 2).
        var round = TV.Bits(HighBits);
        var down = TV.Of(1.0 / (1UL << 51));
        TV a0 = a->L0, a1 = a->L1, a2 = a->L2, a3 = a->L3, a4 = a->L4;
        var q0 = TV.Subtract(TV.Add(a0, round), round);
        var q1 = TV.Subtract(TV.Add(a1, round), round);
        var q2 = TV.Subtract(TV.Add(a2, round), round);
        var q3 = TV.Subtract(TV.Add(a3, round), round);
        var q4 = TV.Subtract(TV.Add(a4, round), round);
        r->L0 = TV.MultiplyAdd(q4, TV.Of(19.0 / (1UL << 51)), TV.Subtract(a0, q0));
        r->L1 = TV.MultiplyAdd(q0, down, TV.Subtract(a1, q1));
        r->L2 = TV.MultiplyAdd(q1, down, TV.Subtract(a2, q2));
        r->L3 = TV.MultiplyAdd(q2, down, TV.Subtract(a3, q3));
        r->L4 = TV.MultiplyAdd(q3, down, TV.Subtract(a4, q4));
    }

    /// <summary>r = -a in the lanes of the mask, a in the others. r may be a.</summary>
    [MethodImpl(Inline)]
    internal static void NegateWhere(Element* r, Element* a, TV mask)
    {
        var sign = TV.And(mask, TV.Bits(SignBit));
        r->L0 = TV.Xor(a->L0, sign);
        r->L1 = TV.Xor(a->L1, sign);
        r->L2 = TV.Xor(a->L2, sign);
        r->L3 = TV.Xor(a->L3, sign);
        r->L4 = TV.Xor(a->L4, sign);
    }

    /// <summary>r = a in the lanes of the mask, r in the others.</summary>
    [MethodImpl(Inline)]
    internal static void MoveWhere(Element* r, Element* a, TV mask)
    {
        r->L0 = Select(mask, a->L0, r->L0);
        r->L1 = Select(mask, a->L1, r->L1);
        r->L2 = Select(mask, a->L2, r->L2);
        r->L3 = Select(mask, a->L3, r->L3);
        r->L4 = Select(mask, a->L4, r->L4);
    }

    /// <summary>r = the small integer of each lane.</summary>
    [MethodImpl(Inline)]
    internal static void Set(Element* r, double value)
    {
        r->L0 = TV.Of(value);
        r->L1 = r->L2 = r->L3 = r->L4 = TV.Of(0);
    }

    /// <summary>The value of a between 0 and p - 1 as integers of 51 bits; |limb| of a below 2^53 - 128. r may be a.</summary>
    /// <remarks>
    /// 4 p is added limb by limb (2^53 - 76 and 2^53 - 4), so that all are positive and below 2^54. A carry through all limbs and around leaves
    /// V = the value modulo p with 0 ≤ V &lt; 2^255 + 19 * 8 &lt; 2 p. V + 19 reaches 2^255 exactly when V ≥ p, and then V + 19 - 2^255 is the value.
    /// </remarks>
    [SkipLocalsInit, MethodImpl(Kernel)]
    internal static void Freeze(Element* r, Element* a)
    {
        var mask = TV.Bits(LimbMask);
        var n19 = TV.Bits(19);
        var l0 = ToInteger(a->L0, FourP0);
        var l1 = ToInteger(a->L1, FourP);
        var l2 = ToInteger(a->L2, FourP);
        var l3 = ToInteger(a->L3, FourP);
        var l4 = ToInteger(a->L4, FourP);
        l1 = TV.AddBits(l1, TV.ShiftRight(l0, 51));
        l2 = TV.AddBits(l2, TV.ShiftRight(l1, 51));
        l3 = TV.AddBits(l3, TV.ShiftRight(l2, 51));
        l4 = TV.AddBits(l4, TV.ShiftRight(l3, 51));
        l0 = TV.AddBits(TV.And(l0, mask), TV.MultiplyLow32(TV.ShiftRight(l4, 51), n19));
        l1 = TV.And(l1, mask);
        l2 = TV.And(l2, mask);
        l3 = TV.And(l3, mask);
        l4 = TV.And(l4, mask);
        var q = TV.ShiftRight(TV.AddBits(l0, n19), 51);
        q = TV.ShiftRight(TV.AddBits(l1, q), 51);
        q = TV.ShiftRight(TV.AddBits(l2, q), 51);
        q = TV.ShiftRight(TV.AddBits(l3, q), 51);
        q = TV.ShiftRight(TV.AddBits(l4, q), 51);
        l0 = TV.AddBits(l0, TV.MultiplyLow32(q, n19));
        l1 = TV.AddBits(l1, TV.ShiftRight(l0, 51));
        l2 = TV.AddBits(l2, TV.ShiftRight(l1, 51));
        l3 = TV.AddBits(l3, TV.ShiftRight(l2, 51));
        l4 = TV.AddBits(l4, TV.ShiftRight(l3, 51));
        r->L0 = TV.And(l0, mask);
        r->L1 = TV.And(l1, mask);
        r->L2 = TV.And(l2, mask);
        r->L3 = TV.And(l3, mask);
        r->L4 = TV.And(l4, mask);
    }

    /// <summary>Lanes where a, canonical, is odd: negative, as RFC 9496 section 3.1 has it. Weight of a at most 3.</summary>
    [SkipLocalsInit]
    internal static TV IsNegative(Element* a)
    {
        Element canonical;
        Freeze(&canonical, a);
        return TV.SubtractBits(TV.Of(0), TV.And(canonical.L0, TV.Bits(1)));
    }

    /// <summary>Lanes where a is 0 modulo p. Weight of a at most 3.</summary>
    [SkipLocalsInit]
    internal static TV IsZero(Element* a)
    {
        Element canonical;
        Freeze(&canonical, a);
        return TV.IsZero(TV.Or(TV.Or(TV.Or(canonical.L0, canonical.L1), TV.Or(canonical.L2, canonical.L3)), canonical.L4));
    }

    /// <summary>r = x^((p - 5) / 8) = x^(2^252 - 3) of one or two elements, which keep the processor's units busier than one. x reduced; r is not x; 6 elements of scratch.</summary>
    internal static void Power(Element* r, Element* x, int count, Element* scratch)
    {
        Element* t = scratch, t0 = t, t1 = t + 2, t2 = t + 4;
        Squares(t0, x, 1, count);           // 2
        Squares(t1, t0, 2, count);          // 8
        Products(t1, x, t1, count);         // 9
        Products(t0, t0, t1, count);        // 11
        Squares(t0, t0, 1, count);          // 22
        Products(t0, t1, t0, count);        // 2^5 - 1
        Squares(t1, t0, 5, count);
        Products(t0, t1, t0, count);        // 2^10 - 1
        Squares(t1, t0, 10, count);
        Products(t1, t1, t0, count);        // 2^20 - 1
        Squares(t2, t1, 20, count);
        Products(t1, t2, t1, count);        // 2^40 - 1
        Squares(t1, t1, 10, count);
        Products(t0, t1, t0, count);        // 2^50 - 1
        Squares(t1, t0, 50, count);
        Products(t1, t1, t0, count);        // 2^100 - 1
        Squares(t2, t1, 100, count);
        Products(t1, t2, t1, count);        // 2^200 - 1
        Squares(t1, t1, 50, count);
        Products(t0, t1, t0, count);        // 2^250 - 1
        Squares(t0, t0, 2, count);          // 2^252 - 4
        Products(r, t0, x, count);
    }

    /// <summary>r = 1 / x, and 0 for 0, of one or two elements: x^(p - 2), and p - 2 = 8 (2^252 - 3) + 3. x reduced; r is not x; 6 elements of scratch.</summary>
    internal static void Invert(Element* r, Element* x, int count, Element* scratch)
    {
        Power(r, x, count, scratch);
        Squares(r, r, 3, count);
        Squares(scratch, x, 1, count);
        Products(scratch, scratch, x, count);
        Products(r, r, scratch, count);
    }

    /// <summary>
    /// r = sqrt(u / v), non-negative, where that is a square, and sqrt(i u / v) in the other lanes (RFC 9496 section 4.2), of one or two elements;
    /// square: the lanes where it is one, u = 0 among them; v = 0 with another u is none. u and v reduced; r is neither; 12 elements of scratch.
    /// </summary>
    [SkipLocalsInit]
    internal static void SqrtRatio(Element* r, TV* square, Element* u, Element* v, int count, Element* rootOfMinusOne, Element* scratch)
    {
        Element* v3 = scratch, x = v3 + 2, check = x + 2;
        Squares(v3, v, 1, count);
        Products(v3, v3, v, count);
        Squares(x, v3, 1, count);
        Products(x, x, v, count);
        Products(x, x, u, count);           // u v^7
        Power(r, x, count, check + 2);
        Products(v3, v3, u, count);         // u v^3
        Products(r, r, v3, count);
        for (var k = 0; k < count; k++)
        {
            Square(check + k, r + k);
            Multiply(check + k, check + k, v + k);
            Element other;
            Subtract(&other, check + k, u + k);
            var correct = IsZero(&other);
            Add(&other, check + k, u + k);
            var flipped = IsZero(&other);
            Multiply(&other, u + k, rootOfMinusOne);
            Add(&other, &other, check + k);
            var flippedI = IsZero(&other);
            Multiply(&other, r + k, rootOfMinusOne);
            MoveWhere(r + k, &other, TV.Or(flipped, flippedI));
            NegateWhere(r + k, r + k, IsNegative(r + k));
            square[k] = TV.Or(correct, flipped);
        }
    }

    /// <summary>r = x^(2^times), of one or two elements.</summary>
    internal static void Squares(Element* r, Element* x, int times, int count)
    {
        for (var k = 0; k < count; k++) Square(r + k, x + k);
        for (var n = 1; n < times; n++)
        {
            for (var k = 0; k < count; k++) Square(r + k, r + k);
        }
    }

    /// <summary>r = a b, of one or two elements.</summary>
    internal static void Products(Element* r, Element* a, Element* b, int count)
    {
        for (var k = 0; k < count; k++) Multiply(r + k, a + k, b + k);
    }

    /// <summary>a where the mask is set, b elsewhere.</summary>
    [MethodImpl(Inline)]
    private static TV Select(TV mask, TV a, TV b) => TV.Xor(b, TV.And(mask, TV.Xor(a, b)));

    /// <summary>The integer a + plus, for a double a that is an integer below 2^53 in size.</summary>
    [MethodImpl(Inline)]
    private static TV ToInteger(TV a, ulong plus)
    {
        // a + 1.5 * 2^78 is a multiple of 2^26, which its bits count; the rest is at most 2^25 in size. (One addition of 1.5 * 2^52 would do up to 2^51 only.)
        const ulong upperBits = 0x44D8000000000000;
        var upper = TV.Add(a, TV.Bits(upperBits));
        var rest = TV.Subtract(a, TV.Subtract(upper, TV.Bits(upperBits)));
        var low = TV.SubtractBits(TV.Add(rest, TV.Bits(LowBits)), TV.Bits(unchecked(LowBits - plus)));
        return TV.AddBits(TV.ShiftLeft(TV.SubtractBits(upper, TV.Bits(upperBits)), 26), low);
    }

    /// <summary>Carries limbs that hold <see cref="CarryOffset"/> besides their value.</summary>
    [MethodImpl(Inline)]
    private static void Store(Element* r, TV c0, TV c1, TV c2, TV c3, TV c4)
    {
        var mask = TV.Bits(LimbMask);
        var exponent = TV.Bits(Exponent);

        // 2^52 and the offsets: 2^50 of the limb itself, and 2^11 with each carry.
        var offset = TV.Of((1UL << 52) + (1UL << 50) + (1UL << 11));
        r->L0 = TV.Subtract(
            TV.AddBits(TV.Or(TV.And(c0, mask), exponent), TV.MultiplyLow32(TV.ShiftRight(c4, 51), TV.Bits(19))),
            TV.Of((1UL << 52) + (1UL << 50) + (19 * (1UL << 11))));
        r->L1 = TV.Subtract(TV.AddBits(TV.Or(TV.And(c1, mask), exponent), TV.ShiftRight(c0, 51)), offset);
        r->L2 = TV.Subtract(TV.AddBits(TV.Or(TV.And(c2, mask), exponent), TV.ShiftRight(c1, 51)), offset);
        r->L3 = TV.Subtract(TV.AddBits(TV.Or(TV.And(c3, mask), exponent), TV.ShiftRight(c2, 51)), offset);
        r->L4 = TV.Subtract(TV.AddBits(TV.Or(TV.And(c4, mask), exponent), TV.ShiftRight(c3, 51)), offset);
    }

    /// <summary>c + 19 d modulo 2^64.</summary>
    [MethodImpl(Inline)]
    private static TV Fold(TV c, TV d) => TV.AddBits(TV.AddBits(TV.AddBits(c, d), TV.AddBits(d, d)), TV.ShiftLeft(d, 4));

    /// <summary>The limbs of the product and the bits of the constants.</summary>
    [MethodImpl(Inline)]
    private static void ProductSums(Element* a, Element* b, out TV r0, out TV r1, out TV r2, out TV r3, out TV r4)
    {
        TV magic = TV.Bits(HighBits), rest = TV.Bits(RestBits), h;
        TV a0 = a->L0, a1 = a->L1, a2 = a->L2, a3 = a->L3, a4 = a->L4;
        TV b0 = b->L0, b1 = b->L1, b2 = b->L2, b3 = b->L3, b4 = b->L4;
        TV c0, c1, c2, c3, c4, c5, c6, c7, c8, c9;
        h = TV.MultiplyAdd(a0, b0, magic);
        c0 = TV.MultiplyAdd(a0, b0, TV.Subtract(rest, h));
        c1 = h;
        h = TV.MultiplyAdd(a0, b1, magic);
        c1 = TV.AddBits(c1, TV.MultiplyAdd(a0, b1, TV.Subtract(rest, h)));
        c2 = h;
        h = TV.MultiplyAdd(a1, b0, magic);
        c1 = TV.AddBits(c1, TV.MultiplyAdd(a1, b0, TV.Subtract(rest, h)));
        c2 = TV.AddBits(c2, h);
        h = TV.MultiplyAdd(a0, b2, magic);
        c2 = TV.AddBits(c2, TV.MultiplyAdd(a0, b2, TV.Subtract(rest, h)));
        c3 = h;
        h = TV.MultiplyAdd(a1, b1, magic);
        c2 = TV.AddBits(c2, TV.MultiplyAdd(a1, b1, TV.Subtract(rest, h)));
        c3 = TV.AddBits(c3, h);
        h = TV.MultiplyAdd(a2, b0, magic);
        c2 = TV.AddBits(c2, TV.MultiplyAdd(a2, b0, TV.Subtract(rest, h)));
        c3 = TV.AddBits(c3, h);
        h = TV.MultiplyAdd(a0, b3, magic);
        c3 = TV.AddBits(c3, TV.MultiplyAdd(a0, b3, TV.Subtract(rest, h)));
        c4 = h;
        h = TV.MultiplyAdd(a1, b2, magic);
        c3 = TV.AddBits(c3, TV.MultiplyAdd(a1, b2, TV.Subtract(rest, h)));
        c4 = TV.AddBits(c4, h);
        h = TV.MultiplyAdd(a2, b1, magic);
        c3 = TV.AddBits(c3, TV.MultiplyAdd(a2, b1, TV.Subtract(rest, h)));
        c4 = TV.AddBits(c4, h);
        h = TV.MultiplyAdd(a3, b0, magic);
        c3 = TV.AddBits(c3, TV.MultiplyAdd(a3, b0, TV.Subtract(rest, h)));
        c4 = TV.AddBits(c4, h);
        h = TV.MultiplyAdd(a0, b4, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(a0, b4, TV.Subtract(rest, h)));
        c5 = h;
        h = TV.MultiplyAdd(a1, b3, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(a1, b3, TV.Subtract(rest, h)));
        c5 = TV.AddBits(c5, h);
        h = TV.MultiplyAdd(a2, b2, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(a2, b2, TV.Subtract(rest, h)));
        c5 = TV.AddBits(c5, h);
        h = TV.MultiplyAdd(a3, b1, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(a3, b1, TV.Subtract(rest, h)));
        c5 = TV.AddBits(c5, h);
        h = TV.MultiplyAdd(a4, b0, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(a4, b0, TV.Subtract(rest, h)));
        c5 = TV.AddBits(c5, h);
        h = TV.MultiplyAdd(a1, b4, magic);
        c5 = TV.AddBits(c5, TV.MultiplyAdd(a1, b4, TV.Subtract(rest, h)));
        c6 = h;
        h = TV.MultiplyAdd(a2, b3, magic);
        c5 = TV.AddBits(c5, TV.MultiplyAdd(a2, b3, TV.Subtract(rest, h)));
        c6 = TV.AddBits(c6, h);
        h = TV.MultiplyAdd(a3, b2, magic);
        c5 = TV.AddBits(c5, TV.MultiplyAdd(a3, b2, TV.Subtract(rest, h)));
        c6 = TV.AddBits(c6, h);
        h = TV.MultiplyAdd(a4, b1, magic);
        c5 = TV.AddBits(c5, TV.MultiplyAdd(a4, b1, TV.Subtract(rest, h)));
        c6 = TV.AddBits(c6, h);
        h = TV.MultiplyAdd(a2, b4, magic);
        c6 = TV.AddBits(c6, TV.MultiplyAdd(a2, b4, TV.Subtract(rest, h)));
        c7 = h;
        h = TV.MultiplyAdd(a3, b3, magic);
        c6 = TV.AddBits(c6, TV.MultiplyAdd(a3, b3, TV.Subtract(rest, h)));
        c7 = TV.AddBits(c7, h);
        h = TV.MultiplyAdd(a4, b2, magic);
        c6 = TV.AddBits(c6, TV.MultiplyAdd(a4, b2, TV.Subtract(rest, h)));
        c7 = TV.AddBits(c7, h);
        h = TV.MultiplyAdd(a3, b4, magic);
        c7 = TV.AddBits(c7, TV.MultiplyAdd(a3, b4, TV.Subtract(rest, h)));
        c8 = h;
        h = TV.MultiplyAdd(a4, b3, magic);
        c7 = TV.AddBits(c7, TV.MultiplyAdd(a4, b3, TV.Subtract(rest, h)));
        c8 = TV.AddBits(c8, h);
        h = TV.MultiplyAdd(a4, b4, magic);
        c8 = TV.AddBits(c8, TV.MultiplyAdd(a4, b4, TV.Subtract(rest, h)));
        c9 = h;
        r0 = Fold(c0, c5);
        r1 = Fold(c1, c6);
        r2 = Fold(c2, c7);
        r3 = Fold(c3, c8);
        r4 = Fold(c4, c9);
    }

    /// <summary>The limbs of the square and the bits of the constants.</summary>
    [MethodImpl(Inline)]
    private static void SquareSums(Element* a, out TV r0, out TV r1, out TV r2, out TV r3, out TV r4)
    {
        TV magic = TV.Bits(HighBits), rest = TV.Bits(RestBits), h;
        TV a0 = a->L0, a1 = a->L1, a2 = a->L2, a3 = a->L3, a4 = a->L4;
        TV d0 = TV.Add(a0, a0), d1 = TV.Add(a1, a1), d2 = TV.Add(a2, a2), d3 = TV.Add(a3, a3);
        TV c0, c1, c2, c3, c4, c5, c6, c7, c8, c9;
        h = TV.MultiplyAdd(a0, a0, magic);
        c0 = TV.MultiplyAdd(a0, a0, TV.Subtract(rest, h));
        c1 = h;
        h = TV.MultiplyAdd(d0, a1, magic);
        c1 = TV.AddBits(c1, TV.MultiplyAdd(d0, a1, TV.Subtract(rest, h)));
        c2 = h;
        h = TV.MultiplyAdd(d0, a2, magic);
        c2 = TV.AddBits(c2, TV.MultiplyAdd(d0, a2, TV.Subtract(rest, h)));
        c3 = h;
        h = TV.MultiplyAdd(a1, a1, magic);
        c2 = TV.AddBits(c2, TV.MultiplyAdd(a1, a1, TV.Subtract(rest, h)));
        c3 = TV.AddBits(c3, h);
        h = TV.MultiplyAdd(d0, a3, magic);
        c3 = TV.AddBits(c3, TV.MultiplyAdd(d0, a3, TV.Subtract(rest, h)));
        c4 = h;
        h = TV.MultiplyAdd(d1, a2, magic);
        c3 = TV.AddBits(c3, TV.MultiplyAdd(d1, a2, TV.Subtract(rest, h)));
        c4 = TV.AddBits(c4, h);
        h = TV.MultiplyAdd(d0, a4, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(d0, a4, TV.Subtract(rest, h)));
        c5 = h;
        h = TV.MultiplyAdd(d1, a3, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(d1, a3, TV.Subtract(rest, h)));
        c5 = TV.AddBits(c5, h);
        h = TV.MultiplyAdd(a2, a2, magic);
        c4 = TV.AddBits(c4, TV.MultiplyAdd(a2, a2, TV.Subtract(rest, h)));
        c5 = TV.AddBits(c5, h);
        h = TV.MultiplyAdd(d1, a4, magic);
        c5 = TV.AddBits(c5, TV.MultiplyAdd(d1, a4, TV.Subtract(rest, h)));
        c6 = h;
        h = TV.MultiplyAdd(d2, a3, magic);
        c5 = TV.AddBits(c5, TV.MultiplyAdd(d2, a3, TV.Subtract(rest, h)));
        c6 = TV.AddBits(c6, h);
        h = TV.MultiplyAdd(d2, a4, magic);
        c6 = TV.AddBits(c6, TV.MultiplyAdd(d2, a4, TV.Subtract(rest, h)));
        c7 = h;
        h = TV.MultiplyAdd(a3, a3, magic);
        c6 = TV.AddBits(c6, TV.MultiplyAdd(a3, a3, TV.Subtract(rest, h)));
        c7 = TV.AddBits(c7, h);
        h = TV.MultiplyAdd(d3, a4, magic);
        c7 = TV.AddBits(c7, TV.MultiplyAdd(d3, a4, TV.Subtract(rest, h)));
        c8 = h;
        h = TV.MultiplyAdd(a4, a4, magic);
        c8 = TV.AddBits(c8, TV.MultiplyAdd(a4, a4, TV.Subtract(rest, h)));
        c9 = h;
        r0 = Fold(c0, c5);
        r1 = Fold(c1, c6);
        r2 = Fold(c2, c7);
        r3 = Fold(c3, c8);
        r4 = Fold(c4, c9);
    }
}
