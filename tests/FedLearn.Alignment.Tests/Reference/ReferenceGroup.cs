using System.Globalization;
using System.Numerics;

namespace FedLearn.Alignment.Tests.Reference;

/// <summary>ristretto255 as RFC 9496 section 4 writes it, on big integers: slow, not constant-time, and obvious.</summary>
internal static class ReferenceGroup
{
    /// <summary>Bytes of an encoding.</summary>
    public const int Size = 32;

    /// <summary>p = 2^255 - 19.</summary>
    public static readonly BigInteger P = BigInteger.Pow(2, 255) - 19;

    /// <summary>Order of the group.</summary>
    public static readonly BigInteger L = BigInteger.Pow(2, 252) + Number("27742317777372353535851937790883648493");

    // Section 4.1, in the decimal form of the RFC; the tests check what the constants are said to be.
    public static readonly BigInteger D = Number("37095705934669439343138083508754565189542113879843219016388785533085940283555");
    public static readonly BigInteger SqrtM1 = Number("19681161376707505956807079304988542015446066515923890162744021073123829784752");
    public static readonly BigInteger SqrtAdMinusOne = Number("25063068953384623474111414158702152701244531502492656460079210482610430750235");
    public static readonly BigInteger InvSqrtAMinusD = Number("54469307008909316920995813868745141605393597292927456921205312896311721017578");
    public static readonly BigInteger OneMinusDSquared = Number("1159843021668779879193775521855586647937357759715417654439879720876111806838");
    public static readonly BigInteger DMinusOneSquared = Number("40440834346308536858101042469323190826248399146238708352240133220865137265952");

    /// <summary>The generator, RFC 9496 section 4: the internal representation is the base point of Ed25519.</summary>
    public static readonly Element Generator = new(
        Number("15112221349535400772501151409588531511454012693041857206046113283949847762202"),
        Number("46316835694926478169428394003475163141307993866256225615783033603165251855960"),
        BigInteger.One,
        Number("46827403850823179245072216630277197565144205554125654976674165829533817101731"));

    /// <summary>The identity.</summary>
    public static readonly Element Identity = new(0, 1, 1, 0);

    /// <summary>An element in extended coordinates, x = X/Z, y = Y/Z, x y = T/Z.</summary>
    internal sealed record Element(BigInteger X, BigInteger Y, BigInteger Z, BigInteger T)
    {
        /// <summary>RFC 8032 section 5.1.4, complete for all inputs.</summary>
        public static Element operator +(Element left, Element right)
        {
            BigInteger a = Mod((left.Y - left.X) * (right.Y - right.X)), b = Mod((left.Y + left.X) * (right.Y + right.X));
            BigInteger c = Mod(left.T * 2 * D * right.T), d = Mod(left.Z * 2 * right.Z);
            BigInteger e = b - a, f = d - c, g = d + c, h = b + a;
            return new(Mod(e * f), Mod(g * h), Mod(f * g), Mod(e * h));
        }

        public static Element operator -(Element element) => new(Mod(-element.X), element.Y, element.Z, Mod(-element.T));

        /// <summary>Double and add.</summary>
        public static Element operator *(BigInteger scalar, Element element)
        {
            Element product = Identity;
            for (int bit = 255; bit >= 0; bit--)
            {
                product += product;
                if (!((scalar >> bit) & 1).IsZero)
                    product += element;
            }

            return product;
        }
    }

    /// <summary>Section 4.2: a square root of u/v, or of SQRT_M1 u/v.</summary>
    public static (bool WasSquare, BigInteger Root) SqrtRatioM1(BigInteger u, BigInteger v)
    {
        BigInteger r = Mod(u * BigInteger.ModPow(v, 3, P) * BigInteger.ModPow(Mod(u * BigInteger.ModPow(v, 7, P)), (P - 5) / 8, P));
        BigInteger check = Mod(v * r * r);
        bool correct = check == Mod(u), flipped = check == Mod(-u), flippedI = check == Mod(-u * SqrtM1);
        if (flipped || flippedI)
            r = Mod(SqrtM1 * r);
        return (correct || flipped, Absolute(r));
    }

    /// <summary>Section 4.3.1; null for what is no encoding.</summary>
    public static Element? Decode(ReadOnlySpan<byte> encoding)
    {
        BigInteger s = new(encoding, isUnsigned: true);
        if (encoding.Length != Size || s >= P || IsNegative(s))
            return null;
        BigInteger ss = Mod(s * s), u1 = Mod(1 - ss), u2 = Mod(1 + ss), u2Squared = Mod(u2 * u2);
        BigInteger v = Mod(-(D * u1 * u1) - u2Squared);
        (bool wasSquare, BigInteger invsqrt) = SqrtRatioM1(1, Mod(v * u2Squared));
        BigInteger denX = Mod(invsqrt * u2), denY = Mod(invsqrt * denX * v);
        BigInteger x = Absolute(Mod(2 * s * denX)), y = Mod(u1 * denY), t = Mod(x * y);
        return !wasSquare || IsNegative(t) || y.IsZero ? null : new Element(x, y, 1, t);
    }

    /// <summary>Section 4.3.2.</summary>
    public static byte[] Encode(Element element)
    {
        (BigInteger x0, BigInteger y0, BigInteger z0, BigInteger t0) = element;
        BigInteger u1 = Mod((z0 + y0) * (z0 - y0)), u2 = Mod(x0 * y0);
        (_, BigInteger invsqrt) = SqrtRatioM1(1, Mod(u1 * u2 * u2));
        BigInteger den1 = Mod(invsqrt * u1), den2 = Mod(invsqrt * u2), zInv = Mod(den1 * den2 * t0);
        bool rotate = IsNegative(Mod(t0 * zInv));
        (BigInteger x, BigInteger y, BigInteger denInv) = rotate
            ? (Mod(y0 * SqrtM1), Mod(x0 * SqrtM1), Mod(den1 * InvSqrtAMinusD))
            : (x0, y0, den2);
        if (IsNegative(Mod(x * zInv)))
            y = Mod(-y);
        return Bytes(Absolute(Mod(denInv * (z0 - y))));
    }

    /// <summary>Section 4.3.4: the element derived from 64 uniform bytes.</summary>
    public static Element Map(ReadOnlySpan<byte> uniform)
    {
        if (uniform.Length != 2 * Size)
            throw new ArgumentException("The map takes 64 bytes.", nameof(uniform));
        return Half(uniform[..Size]) + Half(uniform[Size..]);

        // The high bit is masked; the rest need not be below p.
        static Element Half(ReadOnlySpan<byte> bytes) => MapField(Mod(new BigInteger(bytes, isUnsigned: true) & (BigInteger.Pow(2, 255) - 1)));
    }

    /// <summary>An integer below 2^256 in 32 bytes, little-endian.</summary>
    public static byte[] Bytes(BigInteger value)
    {
        byte[] bytes = new byte[Size];
        return value.Sign >= 0 && value.TryWriteBytes(bytes, out _, isUnsigned: true) ? bytes : throw new ArgumentOutOfRangeException(nameof(value));
    }

    private static Element MapField(BigInteger t)
    {
        BigInteger r = Mod(SqrtM1 * t * t), u = Mod((r + 1) * OneMinusDSquared), v = Mod((-1 - r * D) * (r + D));
        (bool wasSquare, BigInteger s) = SqrtRatioM1(u, v);
        BigInteger c = -1;
        if (!wasSquare)
            (s, c) = (Mod(-Absolute(Mod(s * t))), r);
        BigInteger n = Mod(c * (r - 1) * DMinusOneSquared - v);
        BigInteger w0 = Mod(2 * s * v), w1 = Mod(n * SqrtAdMinusOne), w2 = Mod(1 - s * s), w3 = Mod(1 + s * s);
        return new(Mod(w0 * w3), Mod(w2 * w1), Mod(w1 * w3), Mod(w0 * w2));
    }

    private static BigInteger Number(string digits) => BigInteger.Parse(digits, CultureInfo.InvariantCulture);

    private static bool IsNegative(BigInteger x) => !x.IsEven;

    private static BigInteger Absolute(BigInteger x) => IsNegative(x) ? P - x : x;

    private static BigInteger Mod(BigInteger x)
    {
        BigInteger rest = BigInteger.Remainder(x, P);
        return rest.Sign < 0 ? rest + P : rest;
    }
}
