using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace FedLearn.Alignment.Ristretto;

/// <content>Encodings and the map of uniform bytes (RFC 9496 section 4.3).</content>
internal static unsafe partial class LaneCurve<TV>
{
    /// <summary>Words of 64 bits of an encoding.</summary>
    private const int Words = 4;

    /// <summary>
    /// Decodes one or two registers of points (RFC 9496 section 4.3.1). The bytes themselves are checked by the caller: below p, and even.
    /// </summary>
    /// <param name="points">The points.</param>
    /// <param name="valid">All ones in the lanes that hold a point: the steps after the check of the bytes.</param>
    /// <param name="s">The encoded elements, reduced.</param>
    /// <param name="count">1 or 2.</param>
    /// <param name="c">Constants.</param>
    /// <param name="scratch">Room for 24 elements.</param>
    internal static void Decode(Point* points, TV* valid, Element* s, int count, Constants* c, Element* scratch)
    {
        Element* v = scratch, w = v + 2, one = w + 2, root = one + 2, u1 = root + 2, u2 = u1 + 2, inner = u2 + 2;
        for (var k = 0; k < count; k++)
        {
            // u1 = 1 - s^2, u2 = 1 + s^2, v = -(d u1^2) - u2^2.
            var ss = v + k;
            Square(ss, s + k);
            Set(one + k, 1);
            SubtractReduced(u1 + k, one + k, ss);
            AddReduced(u2 + k, one + k, ss);
            Square(w + k, u1 + k);
            MultiplyRaw(root + k, w + k, &c->D);
            SquareRaw(w + k, u2 + k);
            CarrySum(v + k, root + k, w + k);
            NegateWhere(v + k, v + k, TV.Bits(ulong.MaxValue));
            Square(w + k, u2 + k);
            Multiply(w + k, w + k, v + k);
        }

        SqrtRatio(root, valid, one, w, count, &c->RootOfMinusOne, inner);
        for (var k = 0; k < count; k++)
        {
            // x = |2 s root u2|, y = u1 root^2 u2 v, t = x y.
            var p = points + k;
            Multiply(w + k, root + k, u2 + k);
            Add(one + k, s + k, s + k);
            Multiply(&p->X, one + k, w + k);
            NegateWhere(&p->X, &p->X, IsNegative(&p->X));
            Multiply(w + k, w + k, root + k);
            Multiply(w + k, w + k, v + k);
            Multiply(&p->Y, u1 + k, w + k);
            Set(&p->Z, 1);
            Multiply(&p->T, &p->X, &p->Y);
            valid[k] = TV.And(valid[k], TV.Xor(TV.Or(IsNegative(&p->T), IsZero(&p->Y)), TV.Bits(ulong.MaxValue)));
        }
    }

    /// <summary>
    /// The map of one or two registers of field elements to points (RFC 9496 section 4.3.4, MAP: Elligator 2 on the Jacobi quartic).
    /// </summary>
    /// <param name="points">The points.</param>
    /// <param name="t">The elements, reduced.</param>
    /// <param name="count">1 or 2.</param>
    /// <param name="c">Constants.</param>
    /// <param name="scratch">Room for 26 elements.</param>
    [SkipLocalsInit]
    internal static void Map(Point* points, Element* t, int count, Constants* c, Element* scratch)
    {
        Element* r = scratch, u = r + 2, v = u + 2, s = v + 2, n = s + 2, w = n + 2, inner = w + 2;
        var square = stackalloc TV[2];
        for (var k = 0; k < count; k++)
        {
            // r = i t^2, u = (r + 1)(1 - d^2), v = (-1 - r d)(r + d).
            Square(r + k, t + k);
            Multiply(r + k, r + k, &c->RootOfMinusOne);
            Set(w, 1);
            Add(u + k, r + k, w);
            Multiply(u + k, u + k, &c->OneMinusDSquared);
            Multiply(v + k, r + k, &c->D);
            Add(v + k, v + k, w);
            Add(w, r + k, &c->D);
            Reduce(w, w);
            Multiply(v + k, v + k, w);
            NegateWhere(v + k, v + k, TV.Bits(ulong.MaxValue));
        }

        SqrtRatio(s, square, u, v, count, &c->RootOfMinusOne, inner);
        for (var k = 0; k < count; k++)
        {
            // Where u/v is no square: s = -|s t| and c = r; c = -1 elsewhere.
            var no = TV.Xor(square[k], TV.Bits(ulong.MaxValue));
            Multiply(w, s + k, t + k);
            NegateWhere(w, w, TV.Xor(IsNegative(w), TV.Bits(ulong.MaxValue)));
            MoveWhere(s + k, w, no);
            Set(n + k, -1);
            MoveWhere(n + k, r + k, no);

            // N = c (r - 1) (d - 1)^2 - v.
            Set(w, 1);
            Subtract(w, r + k, w);
            Multiply(n + k, w, n + k);
            Multiply(n + k, n + k, &c->DMinusOneSquared);
            Subtract(n + k, n + k, v + k);

            // w0 = 2 s v, w1 = N sqrt(a d - 1), w2 = 1 - s^2, w3 = 1 + s^2; the point is (w0 w3 : w2 w1 : w1 w3 : w0 w2).
            Element* w0 = u + k, w1 = n + k, w2 = w, w3 = w + 1;
            var p = points + k;
            Add(w0, s + k, s + k);
            Multiply(w0, w0, v + k);
            Multiply(w1, n + k, &c->RootOfADMinusOne);
            Square(s + k, s + k);
            Set(r + k, 1);
            SubtractReduced(w2, r + k, s + k);
            AddReduced(w3, r + k, s + k);
            Multiply(&p->X, w0, w3);
            Multiply(&p->Y, w2, w1);
            Multiply(&p->Z, w1, w3);
            Multiply(&p->T, w0, w2);
        }
    }

    /// <summary>
    /// Writes the encodings of 2 p for registers of points p: RFC 9496 section 4.3.2 of the double, with one inversion for all instead of an inverse square root for each.
    /// </summary>
    /// <remarks>
    /// <para>With e = 2XY, f = Z^2 + d T^2, g = Y^2 + X^2, h = Z^2 - d T^2 the double of (X : Y : Z : T) is (X2 : Y2 : Z2 : T2) = (e h : f g : f h : e g). All four scale with Z^2, so take
    /// Z = 1, T = XY. The curve's equation says Y^2 - X^2 = 1 + d X^2 Y^2 = f, so g^2 - e^2 = (Y^2 - X^2)^2 = f^2. For the double it says -e^2 h^2 + f^2 g^2 = f^2 h^2 + d e^2 g^2;
    /// with f^2 = g^2 - e^2 put in, g^2 (g^2 - e^2 - h^2) = d e^2 g^2, and where g is not 0: h^2 - g^2 = (-1 - d) e^2.</para>
    /// <para>RFC 9496 computes u1 = Z2^2 - Y2^2 = f^2 (h^2 - g^2) = (-1 - d) e^2 f^2 and u2 = X2 Y2 = e f g h, so u1 u2^2 = (-1 - d) (e^2 f^2 g h)^2 and, with m = 1/sqrt(-1 - d),
    /// its inverse square root is m / (e^2 f^2 g h) up to the sign, which cancels as the result is an absolute value. Hence den1 = 1 / (m g h), den2 = m / (e f),
    /// z_inv = 1 / (f h).</para>
    /// <para>T2 z_inv = e g / (f h) not negative: s = |den2 (Z2 - y)| = |(h - g) m / e| = |(h - g) m g / (e g)|, where g changes sign first if X2 z_inv = e h / (f h) is negative.
    /// Negative: x = i Y2, y = i X2 and den_inv = den1 m = 1 / (g h), so s = |(f - i e) / g|, with e negated first if i f g / (f h) is negative. The first form with g, -e, i f, i for e, g,
    /// h, m gives |(i f + e) i (-e) / (e g)|, the same.</para>
    /// <para>f and h are never 0, as d and -d are no squares modulo p. e g = 0 means that 2 p has order 1, 2 or 4 (e = 0: X or Y is 0, p has order 1, 2 or 4; g = 0: Y = ±i X, order 8), so 2 p stands for
    /// the identity; then u2 = 0 and RFC 9496 yields s = 0 as well. Those lanes get the product 1 in the inversion, and s is cleared.</para>
    /// <para>Points that differ by one of order 1, 2 or 4 have doubles that differ by one of order 1 or 2: the same element of the group, and the same encoding.</para>
    /// </remarks>
    /// <param name="points">The points; overwritten.</param>
    /// <param name="count">Number of registers of points, at least 1.</param>
    /// <param name="encodings">32 bytes a point: of the last register as many as there is room for.</param>
    /// <param name="c">Constants.</param>
    /// <param name="terms">Room for 4 elements a register of points.</param>
    /// <param name="scratch">Room for 16 elements.</param>
    internal static void EncodeDoubles(Point* points, int count, Span<byte> encodings, Constants* c, Element* terms, Element* scratch)
    {
        Element* eg = terms, fh = eg + count, product = fh + count, prefix = product + count;
        Element* a = scratch, b = a + 1, x = a + 2, y = a + 3, running = a + 4, inverse = a + 6, inner = a + 8;
        for (var n = 0; n < count; n++)
        {
            var p = points + n;
            Square(b, &p->T);
            MultiplyRaw(a, b, &c->D);
            SquareRaw(b, &p->Z);
            SquareRaw(x, &p->X);
            SquareRaw(y, &p->Y);
            MultiplyRaw(inner, &p->X, &p->Y);
            CarrySum(&p->X, inner, inner);
            CarrySum(&p->Y, b, a);
            CarrySum(&p->Z, y, x);
            CarryDifference(&p->T, b, a);
            Multiply(eg + n, &p->X, &p->Z);
            Multiply(fh + n, &p->Y, &p->T);
            Multiply(product + n, eg + n, fh + n);
            Set(a, 1);
            MoveWhere(product + n, a, IsZero(eg + n));

            // Two chains of products, which are inverted side by side.
            if (n < 2) prefix[n] = product[n];
            else Multiply(prefix + n, prefix + n - 2, product + n);
        }

        // Slots count - 1 and count - 2 hold the whole products.
        if (count > 1)
        {
            inverse[0] = prefix[count - 2 + (count & 1)];
            inverse[1] = prefix[count - 1 - (count & 1)];
            Invert(running, inverse, 2, inner);
        }
        else
        {
            Invert(running, prefix, 1, inner);
        }

        for (var n = count - 1; n >= 0; n--)
        {
            // e, f, g, h in turn; after the inversion: 1 / (e f g h), 1 / (f h) and 1 / (e g).
            var p = points + n;
            var chain = running + (n & 1);
            if (n < 2) *inverse = *chain;
            else Multiply(inverse, chain, prefix + n - 2);
            Multiply(chain, chain, product + n);
            Element* zInverse = a, tInverse = b, magic = x;
            Multiply(zInverse, eg + n, inverse);
            Multiply(tInverse, fh + n, inverse);
            Multiply(y, eg + n, zInverse);
            var rotate = IsNegative(y);
            *inner = p->X;
            NegateWhere(inner, inner, TV.Bits(ulong.MaxValue));
            MoveWhere(&p->X, &p->Z, rotate);
            MoveWhere(&p->Z, inner, rotate);
            Multiply(inner, &p->Y, &c->RootOfMinusOne);
            MoveWhere(&p->T, inner, rotate);
            *magic = c->InverseRootOfMinusOneMinusD;
            MoveWhere(magic, &c->RootOfMinusOne, rotate);
            Multiply(y, &p->T, &p->X);
            Multiply(y, y, zInverse);
            NegateWhere(&p->Z, &p->Z, IsNegative(y));
            Multiply(tInverse, tInverse, &p->Z);
            Multiply(tInverse, tInverse, magic);
            Subtract(y, &p->T, &p->Z);
            Multiply(y, y, tInverse);
            NegateWhere(y, y, IsNegative(y));
            Set(x, 0);
            MoveWhere(y, x, IsZero(eg + n));
            StoreBytes(y, encodings[(32 * TV.Count * n)..]);
        }
    }

    /// <summary>Reads 255 bits of each lane's 32 bytes; reduced.</summary>
    /// <param name="r">The element.</param>
    /// <param name="bytes">From the first lane's bytes on; lanes past the end take the padding.</param>
    /// <param name="stride">Bytes from one lane to the next.</param>
    /// <param name="padding">Four words, least first.</param>
    [SkipLocalsInit]
    internal static void LoadBytes(Element* r, ReadOnlySpan<byte> bytes, int stride, ReadOnlySpan<ulong> padding)
    {
        var words = stackalloc TV[Words];
        var word = (ulong*)words;
        for (var lane = 0; lane < TV.Count; lane++)
        {
            var at = lane * stride;
            var present = at < bytes.Length;
            for (var n = 0; n < Words; n++) word[(n * TV.Count) + lane] = present ? BinaryPrimitives.ReadUInt64LittleEndian(bytes[(at + (8 * n))..]) : padding[n];
        }

        var mask = TV.Bits(LimbMask);
        r->L0 = TV.And(words[0], mask);
        r->L1 = TV.And(TV.Or(TV.ShiftRight(words[0], 51), TV.ShiftLeft(words[1], 13)), mask);
        r->L2 = TV.And(TV.Or(TV.ShiftRight(words[1], 38), TV.ShiftLeft(words[2], 26)), mask);
        r->L3 = TV.And(TV.Or(TV.ShiftRight(words[2], 25), TV.ShiftLeft(words[3], 39)), mask);
        r->L4 = TV.And(TV.ShiftRight(words[3], 12), mask);
        Carry(r, r);
    }

    /// <summary>Writes the value of each lane between 0 and p - 1 in 32 bytes, as many lanes as there is room for.</summary>
    [SkipLocalsInit]
    internal static void StoreBytes(Element* a, Span<byte> bytes)
    {
        Element canonical;
        Freeze(&canonical, a);
        var words = stackalloc TV[Words];
        words[0] = TV.Or(canonical.L0, TV.ShiftLeft(canonical.L1, 51));
        words[1] = TV.Or(TV.ShiftRight(canonical.L1, 13), TV.ShiftLeft(canonical.L2, 38));
        words[2] = TV.Or(TV.ShiftRight(canonical.L2, 26), TV.ShiftLeft(canonical.L3, 25));
        words[3] = TV.Or(TV.ShiftRight(canonical.L3, 39), TV.ShiftLeft(canonical.L4, 12));
        var word = (ulong*)words;
        var lanes = Math.Min(TV.Count, bytes.Length / 32);
        for (var lane = 0; lane < lanes; lane++)
        {
            for (var n = 0; n < Words; n++) BinaryPrimitives.WriteUInt64LittleEndian(bytes[((32 * lane) + (8 * n))..], word[(n * TV.Count) + lane]);
        }
    }

    /// <summary>Constants of the curve (RFC 9496 section 4.1) in every lane, reduced.</summary>
    internal struct Constants
    {
        public Element D;
        public Element TwoD;
        public Element RootOfMinusOne;
        public Element RootOfADMinusOne;
        public Element InverseRootOfMinusOneMinusD;
        public Element OneMinusDSquared;
        public Element DMinusOneSquared;

        /// <summary>Fills them.</summary>
        internal static void Fill(Constants* c)
        {
            LoadBytes(&c->D, default, 32, CurveConstants.D);
            LoadBytes(&c->TwoD, default, 32, CurveConstants.TwoD);
            LoadBytes(&c->RootOfMinusOne, default, 32, CurveConstants.RootOfMinusOne);
            LoadBytes(&c->RootOfADMinusOne, default, 32, CurveConstants.RootOfADMinusOne);
            LoadBytes(&c->InverseRootOfMinusOneMinusD, default, 32, CurveConstants.InverseRootOfMinusOneMinusD);
            LoadBytes(&c->OneMinusDSquared, default, 32, CurveConstants.OneMinusDSquared);
            LoadBytes(&c->DMinusOneSquared, default, 32, CurveConstants.DMinusOneSquared);
        }
    }
}
