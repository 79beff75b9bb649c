using System.Runtime.CompilerServices;

namespace FedLearn.Alignment.Ristretto;

/// <content>
/// Points of the twisted Edwards curve -x^2 + y^2 = 1 + d x^2 y^2 in extended coordinates (X : Y : Z : T), x = X/Z, y = Y/Z, T = XY/Z, and the multiplication
/// by a scalar that all lanes share (H. Hisil et al., "Twisted Edwards Curves Revisited", 2008, sections 3.1 and 3.3). The formulas hold for all points.
/// </content>
internal static unsafe partial class LaneCurve<TV>
{
    /// <summary>A point in extended coordinates, all reduced.</summary>
    internal struct Point
    {
        public Element X;
        public Element Y;
        public Element Z;
        public Element T;
    }

    /// <summary>A point prepared to be added: Y + X, Y - X, 2 Z, 2 d T, all reduced.</summary>
    internal struct Cached
    {
        public Element Plus;
        public Element Minus;
        public Element TwoZ;
        public Element TwoDT;
    }

    /// <summary>r = 2 p; T of the result only if asked for, T of p is not read. r may be p. 8 elements of scratch.</summary>
    internal static void Double(Point* r, Point* p, bool withT, Element* scratch)
    {
        Element* xx = scratch, yy = xx + 1, zz = xx + 2, xy = xx + 3, e = xx + 4, f = xx + 5, g = xx + 6, h = xx + 7;
        SquareRaw(xx, &p->X);
        SquareRaw(yy, &p->Y);
        SquareRaw(zz, &p->Z);
        MultiplyRaw(xy, &p->X, &p->Y);
        DoublingTerms(e, xx);
        Multiply(&r->X, e, f);
        Multiply(&r->Y, g, h);
        Multiply(&r->Z, f, g);
        if (withT) Multiply(&r->T, e, h);
    }

    /// <summary>r = p + q; T of the result only if asked for. r may be p. 8 elements of scratch.</summary>
    internal static void Add(Point* r, Point* p, Cached* q, bool withT, Element* scratch)
    {
        Element* a = scratch, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5, g = a + 6, h = a + 7;

        // Weights 2 and 1.
        Subtract(e, &p->Y, &p->X);
        Add(f, &p->Y, &p->X);
        MultiplyRaw(a, e, &q->Minus);
        MultiplyRaw(b, f, &q->Plus);
        MultiplyRaw(c, &p->T, &q->TwoDT);
        MultiplyRaw(d, &p->Z, &q->TwoZ);
        AdditionTerms(e, a);
        Multiply(&r->X, e, f);
        Multiply(&r->Y, g, h);
        Multiply(&r->Z, f, g);
        if (withT) Multiply(&r->T, e, h);
    }

    /// <summary>r = p, prepared to be added.</summary>
    internal static void Prepare(Cached* r, Point* p, Element* twoD)
    {
        AddReduced(&r->Plus, &p->Y, &p->X);
        SubtractReduced(&r->Minus, &p->Y, &p->X);
        AddReduced(&r->TwoZ, &p->Z, &p->Z);
        Multiply(&r->TwoDT, &p->T, twoD);
    }

    /// <summary>
    /// p = k p, for the digits of k (<see cref="ScalarDigits"/>). The time and the addresses do not depend on the digits: each digit reads the whole table, the masks do the rest.
    /// </summary>
    /// <param name="p">The point, and the product.</param>
    /// <param name="digits">Digits of k.</param>
    /// <param name="table">Room for 9 points.</param>
    /// <param name="twoD">2 d.</param>
    /// <param name="scratch">Room for 8 elements.</param>
    internal static void Multiply(Point* p, ReadOnlySpan<sbyte> digits, Cached* table, Element* twoD, Element* scratch)
    {
        // table[j] = (j + 1) p.
        Prepare(table, p, twoD);
        for (var j = 1; j < ScalarDigits.TableSize; j++)
        {
            Add(p, p, table, withT: true, scratch);
            Prepare(table + j, p, twoD);
        }

        Set(&p->X, 0);
        Set(&p->Y, 1);
        Set(&p->Z, 1);
        Set(&p->T, 0);
        var chosen = table + ScalarDigits.TableSize;
        for (var n = digits.Length - 1; n >= 0; n--)
        {
            if (n < digits.Length - 1)
            {
                Double(p, p, withT: false, scratch);
                Double(p, p, withT: false, scratch);
                Double(p, p, withT: false, scratch);
                Double(p, p, withT: true, scratch);
            }

            Choose(chosen, table, digits[n]);
            Add(p, p, chosen, withT: n == 0, scratch);
        }
    }

    /// <summary>r = digit times the point of the table, digit between -8 and 8.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    private static void Choose(Cached* r, Cached* table, int digit)
    {
        unchecked
        {
            // Masks of all ones or none by arithmetic of the digit alone.
            var sign = digit >> 31;
            var size = (digit ^ sign) - sign;
            TV m0 = Mask(size, 0), m1 = Mask(size, 1), m2 = Mask(size, 2), m3 = Mask(size, 3), m4 = Mask(size, 4);
            TV m5 = Mask(size, 5), m6 = Mask(size, 6), m7 = Mask(size, 7), m8 = Mask(size, 8);
            const int limbs = 20;
            TV* from = (TV*)table, to = (TV*)r;
            for (var n = 0; n < limbs; n++)
            {
                var v = TV.And(from[n], m1);
                v = TV.Or(v, TV.And(from[n + limbs], m2));
                v = TV.Or(v, TV.And(from[n + (2 * limbs)], m3));
                v = TV.Or(v, TV.And(from[n + (3 * limbs)], m4));
                v = TV.Or(v, TV.And(from[n + (4 * limbs)], m5));
                v = TV.Or(v, TV.And(from[n + (5 * limbs)], m6));
                v = TV.Or(v, TV.And(from[n + (6 * limbs)], m7));
                to[n] = TV.Or(v, TV.And(from[n + (7 * limbs)], m8));
            }

            // The identity has Y + X = Y - X = 1, 2 Z = 2 and 2 d T = 0.
            var one = TV.And(TV.Of(1), m0);
            r->Plus.L0 = TV.Or(r->Plus.L0, one);
            r->Minus.L0 = TV.Or(r->Minus.L0, one);
            r->TwoZ.L0 = TV.Or(r->TwoZ.L0, TV.And(TV.Of(2), m0));

            // The negative of a point swaps Y + X and Y - X and negates T.
            var negative = TV.Bits((ulong)(long)sign);
            TV* plus = (TV*)&r->Plus, minus = (TV*)&r->Minus;
            for (var n = 0; n < 5; n++)
            {
                var swap = TV.And(TV.Xor(plus[n], minus[n]), negative);
                plus[n] = TV.Xor(plus[n], swap);
                minus[n] = TV.Xor(minus[n], swap);
            }

            NegateWhere(&r->TwoDT, &r->TwoDT, negative);
        }
    }

    /// <summary>All ones where a = b, for a and b between 0 and 8.</summary>
    [MethodImpl(Inline)]
    private static TV Mask(int a, int b) => TV.Bits(unchecked((ulong)((long)((a ^ b) - 1) >> 63)));

    /// <summary>From raw X^2, Y^2, Z^2, XY: E = 2XY, F = G - 2Z^2, G = Y^2 - X^2, H = -(X^2 + Y^2), reduced: the sums have weight 2, 4, 2, 2.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    private static void DoublingTerms(Element* terms, Element* raw)
    {
        TV* a = (TV*)raw, b = a + 5, c = a + 10, d = a + 15;
        var offset = TV.Bits(CarryOffset);
        Store(
            terms,
            TV.AddBits(TV.AddBits(d[0], d[0]), offset),
            TV.AddBits(TV.AddBits(d[1], d[1]), offset),
            TV.AddBits(TV.AddBits(d[2], d[2]), offset),
            TV.AddBits(TV.AddBits(d[3], d[3]), offset),
            TV.AddBits(TV.AddBits(d[4], d[4]), offset));
        TV a0 = TV.SubtractBits(offset, a[0]), a1 = TV.SubtractBits(offset, a[1]), a2 = TV.SubtractBits(offset, a[2]);
        TV a3 = TV.SubtractBits(offset, a[3]), a4 = TV.SubtractBits(offset, a[4]);
        Store(terms + 3, TV.SubtractBits(a0, b[0]), TV.SubtractBits(a1, b[1]), TV.SubtractBits(a2, b[2]), TV.SubtractBits(a3, b[3]), TV.SubtractBits(a4, b[4]));
        a0 = TV.AddBits(a0, b[0]);
        a1 = TV.AddBits(a1, b[1]);
        a2 = TV.AddBits(a2, b[2]);
        a3 = TV.AddBits(a3, b[3]);
        a4 = TV.AddBits(a4, b[4]);
        Store(terms + 2, a0, a1, a2, a3, a4);
        Store(
            terms + 1,
            TV.SubtractBits(a0, TV.AddBits(c[0], c[0])),
            TV.SubtractBits(a1, TV.AddBits(c[1], c[1])),
            TV.SubtractBits(a2, TV.AddBits(c[2], c[2])),
            TV.SubtractBits(a3, TV.AddBits(c[3], c[3])),
            TV.SubtractBits(a4, TV.AddBits(c[4], c[4])));
    }

    /// <summary>From raw A, B, C, D: E = B - A, F = D - C, G = D + C, H = B + A, reduced.</summary>
    [SkipLocalsInit, MethodImpl(Kernel)]
    private static void AdditionTerms(Element* terms, Element* raw)
    {
        CarryPair(terms, terms + 3, raw + 1, raw);
        CarryPair(terms + 1, terms + 2, raw + 3, raw + 2);
    }

    /// <summary>Difference and sum of two raw elements, reduced.</summary>
    [MethodImpl(Inline)]
    private static void CarryPair(Element* difference, Element* sum, Element* a, Element* b)
    {
        var offset = TV.Bits(CarryOffset);
        TV a0 = TV.AddBits(a->L0, offset), a1 = TV.AddBits(a->L1, offset), a2 = TV.AddBits(a->L2, offset), a3 = TV.AddBits(a->L3, offset), a4 = TV.AddBits(a->L4, offset);
        TV b0 = b->L0, b1 = b->L1, b2 = b->L2, b3 = b->L3, b4 = b->L4;
        Store(difference, TV.SubtractBits(a0, b0), TV.SubtractBits(a1, b1), TV.SubtractBits(a2, b2), TV.SubtractBits(a3, b3), TV.SubtractBits(a4, b4));
        Store(sum, TV.AddBits(a0, b0), TV.AddBits(a1, b1), TV.AddBits(a2, b2), TV.AddBits(a3, b3), TV.AddBits(a4, b4));
    }
}
